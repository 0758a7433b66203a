"""Models in repositories of the Hugging Face Hub: ``hf://owner/repo[/file][@revision]``, public ones.

Two requests of its HTTP interface suffice, so huggingface_hub and the HTTP client that it brings are not needed. The
first one says which commit a revision is and what the file's hash must be; what it said is kept for offline use.
"""

from __future__ import annotations

import json
import logging
import os
import re
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eqff.errors import ConfigError, DownloadError, did_you_mean
from eqff.registry.cache import OFFLINE_VARIABLE, cache_folder, cached_path, offline
from eqff.registry.download import NETWORK_ERRORS, TIMEOUT, Wanted, fetch

PREFIX = "hf://"
DEFAULT_FILE = "model.safetensors"
_SOURCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(/(?P<file>[^@]+?))?(@(?P<revision>[\w./-]+))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BUSY = (429, 500, 502, 503, 504)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubSource:
    """A file on the Hub: repository ("owner/repo"), path in it, and branch, tag or commit."""

    repo: str
    file: str = DEFAULT_FILE
    revision: str = "main"


@dataclass(frozen=True)
class HubFile:
    """What the Hub says of a file: commit, SHA-256, bytes."""

    commit: str
    sha256: str
    size: int


def parse(source: str) -> HubSource:
    """Reads ``hf://owner/repo[/file][@revision]``.

    Raises:
        ConfigError: It is none.
    """
    match = _SOURCE.fullmatch(source.removeprefix(PREFIX))
    file = (match["file"] if match else None) or DEFAULT_FILE
    if match is None or ".." in Path(file).parts:
        raise ConfigError(f"'{source}' is no {PREFIX}owner/repo[/file][@revision], for example {PREFIX}me/water@v2.")
    return HubSource(match["repo"], file, match["revision"] or "main")


def fetch_from_hub(text: str) -> Path:
    """The file of ``hf://...``, downloaded unless it is in the cache.

    Raises:
        ConfigError: The text is no such source.
        DownloadError: No network and not in the cache, no such repository or file, or a download that failed.
    """
    source = parse(text)
    known = _remembered(source)
    if offline():
        found = known
    else:
        try:
            found = _ask(source, text)
        except NETWORK_ERRORS as error:
            if known is None:
                raise DownloadError(f"{endpoint()} can't be reached for {text}: {error}.") from error
            log.warning("%s can't be reached (%s): %s is what it was last time.", endpoint(), error, text)
            found = known
    if found is None:
        raise DownloadError(
            f"{text} was never loaded on this machine, and {OFFLINE_VARIABLE} forbids downloads. Load it once without, "
            f"or copy {cache_folder()} from a machine where it was."
        )
    url = f"{endpoint()}/{source.repo}/resolve/{found.commit}/{quote(source.file)}"
    path = fetch(Wanted(text, found.sha256, found.size, (url,)), cached_path(source.repo, found.sha256))
    if found != known:  # not before it is here: without a network, what was remembered has to be
        _remember(source, found)
    return path


def endpoint() -> str:
    """Of the Hub or a mirror, as ``HF_ENDPOINT`` says."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _ask(source: HubSource, text: str) -> HubFile:
    url = f"{endpoint()}/api/models/{source.repo}/revision/{quote(source.revision, safe='')}?blobs=true"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            content = json.load(answer)
        files = {entry["rfilename"]: entry for entry in content["siblings"]}
        commit = content["sha"]
    except urllib.error.HTTPError as error:
        if error.code in _BUSY:  # for now; what it said last time may do
            raise
        raise DownloadError(
            f"{text}: {endpoint()} answers {error.code} {error.reason}. Check owner, repository and revision; "
            "of private repositories load a downloaded file by its path."
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise DownloadError(f"{url} answers something that is not of the Hub's interface: {error!r}.") from error
    if source.file not in files:
        models = [name for name in files if name.endswith(".safetensors")]
        hint = did_you_mean(source.file, models) if models else " It has no .safetensors at all."
        raise DownloadError(f"{source.repo}@{source.revision} has no file '{source.file}'.{hint}")
    return _described(files[source.file], commit, text)


def _described(entry: dict[str, Any], commit: str, text: str) -> HubFile:
    large = entry.get("lfs") or {}
    sha256, size = large.get("sha256"), large.get("size")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or not isinstance(size, int):
        raise DownloadError(
            f"{text} is not stored with LFS, so its hash is not known and a wrong download could not be noticed. Its "
            "owner can add '*.safetensors filter=lfs diff=lfs merge=lfs -text' to .gitattributes and upload it again."
        )
    return HubFile(commit, sha256, size)


def _memory(source: HubSource) -> Path:
    name = "--".join((*source.repo.split("/"), source.file, source.revision))
    return cache_folder() / "hub" / f"{quote(name, safe='')}.json"


def _remembered(source: HubSource) -> HubFile | None:
    try:
        return HubFile(**json.loads(_memory(source).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there, or of no use
        return None


def _remember(source: HubSource, found: HubFile) -> None:
    from eqff.checkpoints.atomic import replacing  # with torch, which a command's listing doesn't wait for

    with replacing(_memory(source)) as temporary:
        temporary.write_text(json.dumps(asdict(found)), encoding="utf-8")
