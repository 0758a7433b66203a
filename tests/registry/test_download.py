"""Downloads: whole and right, or nothing; an interruption costs only what was not there yet."""

import hashlib
import logging
import threading

import pytest

from eqff.errors import DownloadError, StorageError
from eqff.registry.cache import offline, sha256_of
from eqff.registry.download import Wanted, fetch

BODY = bytes(range(256)) * 400


@pytest.fixture
def wanted(server):
    server.files["/m"] = BODY
    return Wanted("m", hashlib.sha256(BODY).hexdigest(), len(BODY), (f"{server.url}/m",))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "m.safetensors"


def left(target):
    """What lies beside the target, the lock left out."""
    return sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock")


def test_downloads_once(server, wanted, target):
    for _ in range(2):
        assert fetch(wanted, target).read_bytes() == BODY
    assert server.requests == [("/m", None)]
    assert left(target) == [target.name]


def test_goes_on_where_the_server_stopped(server, wanted, target):
    server.stop_after = [1000]
    with pytest.raises(DownloadError, match=rf"stopped after 1000 of {len(BODY)} bytes(.|\n)*1000 of .* are kept"):
        fetch(wanted, target)
    assert not target.exists()
    assert fetch(wanted, target).read_bytes() == BODY
    assert server.requests[-1] == ("/m", "bytes=1000-")
    assert left(target) == [target.name]


def test_mirrors_go_on_too(server, wanted, target):
    server.stop_after = [700, 300]
    many = Wanted("m", wanted.sha256, wanted.size, (f"{server.url}/none", *wanted.urls * 3))
    assert fetch(many, target).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, None, "bytes=700-", "bytes=1000-"]


def test_begins_anew_where_a_server_can_not_go_on(server, wanted, target):
    server.stop_after, server.ranges = [1000], False
    with pytest.raises(DownloadError):
        fetch(wanted, target)
    assert fetch(wanted, target).read_bytes() == BODY


@pytest.mark.parametrize("rest", [b"other" * 10, BODY[:-1] + b"?", BODY + b"more"])
def test_a_false_beginning_is_noticed(wanted, target, rest):
    target.parent.mkdir()
    target.with_name(f"{target.name}.part").write_bytes(rest)
    assert fetch(wanted, target).read_bytes() == BODY


@pytest.mark.parametrize("body", [BODY[:-1] + b"?", BODY + b"more"])
def test_other_content_is_not_kept(server, wanted, target, body):
    server.files["/m"] = body
    with pytest.raises(DownloadError, match=rf"sha256 is .*, not {wanted.sha256}.*: it was removed"):
        fetch(wanted, target)
    assert left(target) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(server, wanted, target, caplog):
    fetch(wanted, target)
    target.write_bytes(b"?" + BODY[1:])
    with caplog.at_level(logging.WARNING):
        assert sha256_of(fetch(wanted, target)) == wanted.sha256
    assert "is removed" in caplog.text and len(server.requests) == 2


def test_offline_only_what_is_there(server, wanted, target, monkeypatch):
    fetch(wanted, target)
    monkeypatch.setenv("EQFF_OFFLINE", "1")
    assert fetch(wanted, target) == target
    with pytest.raises(DownloadError, match="EQFF_OFFLINE forbids downloads"):
        fetch(wanted, target.with_name("other"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "is_offline"), [("1", True), ("true", True), ("0", False), ("", False), ("No", False)]
)
def test_offline_is_read(monkeypatch, text, is_offline):
    monkeypatch.setenv("EQFF_OFFLINE", text)
    assert offline() is is_offline


def test_no_network(server, wanted, target):
    server.close()
    with pytest.raises(DownloadError, match=r"(?s)could not be downloaded.*refused.*Check the network"):
        fetch(wanted, target)


def test_a_cache_that_can_not_be_written(wanted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="EQFF_CACHE names another folder"):
        fetch(wanted, tmp_path / "file" / "m")


def test_two_at_once_download_once(server, wanted, target):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(wanted, target).read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BODY] * 4 and len(server.requests) == 1
