"""Downloads that are whole, right and in the cache, or not there: checked by hash, resumed after an interruption.

Standard library only: pooch, which does the rest well, begins an interrupted download anew.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from eqff.errors import DownloadError, StorageError
from eqff.registry.cache import CACHE_VARIABLE, OFFLINE_VARIABLE, offline, sha256_of
from eqff.registry.progress import transfer_bar

TIMEOUT = 30.0
"""Seconds without a single byte after which a connection is given up."""
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)
_CHUNK = 1 << 18
_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A file that is going to be downloaded.

    Attributes:
        name: For messages.
        sha256: Of its content.
        size: Bytes.
        urls: Tried in this order.
    """

    name: str
    sha256: str
    size: int
    urls: Sequence[str]


class _Interrupted(ConnectionError):
    """A server stopped before the file was whole."""


def fetch(wanted: Wanted, target: Path) -> Path:
    """Downloads a file unless it is there, and checks it either way.

    What an interrupted download left stays beside the target, and the next call goes on from there. Several processes
    may call this at once: one downloads, the others wait for it.

    Raises:
        DownloadError: Offline and not there, no address answers, it stopped midway, or the content is another.
        StorageError: The cache can't be written.
    """
    try:
        if _is_whole(target, wanted):
            return target
        if offline():
            raise DownloadError(
                f"'{wanted.name}' is not in the cache {target.parent}, and {OFFLINE_VARIABLE} forbids downloads. Load "
                f"it once without {OFFLINE_VARIABLE}, or copy that folder from a machine where it was loaded."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            return target if _is_whole(target, wanted) else _download(wanted, target)
    except OSError as error:
        raise StorageError(
            f"The cache {target.parent} can't be written: {error}. {CACHE_VARIABLE} names another folder."
        ) from error


def _is_whole(path: Path, wanted: Wanted) -> bool:
    if not path.is_file():
        return False
    if path.stat().st_size == wanted.size and sha256_of(path) == wanted.sha256:
        return True
    log.warning("%s is not the file that '%s' should be: it is removed.", path, wanted.name)
    path.unlink()
    return False


def _download(wanted: Wanted, target: Path) -> Path:
    part, failures = target.with_name(f"{target.name}.part"), []
    for url in wanted.urls:
        failure = _attempt(url, part, wanted)
        if failure is None:
            part.replace(target)
            return target
        failures.append(f"\n  {url}: {failure}")
    there = part.stat().st_size if part.exists() else 0
    kept = f" {there} of {wanted.size} bytes are kept: the next try goes on there." if there else ""
    raise DownloadError(
        f"'{wanted.name}' could not be downloaded, and nothing was loaded:{''.join(failures)}\nCheck the network "
        f"(proxies: https_proxy) and the registry entry; a file that you have can be loaded by its path.{kept}"
    )


def _attempt(url: str, part: Path, wanted: Wanted) -> str | None:
    """Brings ``part`` to its full length; says what went wrong, None for nothing."""
    resumed = part.exists()
    try:
        _receive(url, part, wanted)
    except urllib.error.HTTPError as error:
        if error.code != _RANGE_NOT_SATISFIABLE or not resumed:
            return f"the server answers {error.code} {error.reason}"
        found = ""
    except NETWORK_ERRORS as error:
        return str(getattr(error, "reason", None) or error) or type(error).__name__
    else:
        found = sha256_of(part)
    if found == wanted.sha256:
        return None
    part.unlink()
    if resumed:  # the beginning may have been of something else
        return _attempt(url, part, wanted)
    return f"its sha256 is {found}, not {wanted.sha256} as the registry says: it was removed"


def _receive(url: str, part: Path, wanted: Wanted) -> None:
    """Appends to ``part`` what it lacks; begins anew where the server can't."""
    there = part.stat().st_size if part.exists() else 0
    if there >= wanted.size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "eqff", "Accept-Encoding": "identity"})
    if there:
        request.add_header("Range", f"bytes={there}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        goes_on = answer.status == _PARTIAL and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        there = there if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file, transfer_bar(wanted.name, wanted.size, there) as advance:
            while chunk := answer.read(_CHUNK):
                there += len(chunk)
                if there > wanted.size:
                    break  # whatever it is, it is not what was wanted, and the hash says so
                file.write(chunk)
                advance(len(chunk))
    if there < wanted.size:
        raise _Interrupted(f"it stopped after {there} of {wanted.size} bytes")
