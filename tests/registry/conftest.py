"""A model file, a registry that names it, and a server that can be told to misbehave."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from eqff.build import ModelContext, build_potential
from eqff.checkpoints import save_model

CONFIG = {
    "backbone": {"_target_": "eqff.testing.minimal.MinimalBackbone", "channels": 4, "num_passes": 1, "cutoff": 3.0},
    "terms": {"local": {"_target_": "eqff.terms.local.LocalEnergy", "hidden": 4}},
}
CONTEXT = ModelContext((1, 6, 7, 8), {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2042.0})


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    """No test sees, or leaves anything in, the folders of who runs it."""
    for name in ("EQFF_REGISTRY", "EQFF_OFFLINE", "EQFF_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    states = [{"total_charge": 0, "multiplicity": 1, "frames": 9}]
    metadata = {"states": states}
    return save_model(path, build_potential(CONFIG, CONTEXT), model_config=CONFIG, context=CONTEXT, metadata=metadata)


@pytest.fixture(scope="session")
def content(model_file):
    return model_file.read_bytes()


@pytest.fixture
def entry(content):
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "urls": ["water.safetensors"],
        "licence": "MIT",
        "summary": "A model of water.",
        "training_data": "none at all",
        "method": "none",
        "elements": ["H", "C", "N", "O"],
        "states": [[0, 1], [1, 2]],
        "errors": {"test/forces_mae": 12.345, "test/energy_rmse": 3004.0},
        "units": {"forces_mae": "meV/Å", "energy_rmse": "meV"},
    }


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Writes a registry of entries by name, and has eqff look into it."""

    def write(**models):
        path = tmp_path / "registry" / "mine.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"format": 1, "models": models}))
        monkeypatch.setenv("EQFF_REGISTRY", str(path))
        return path

    return write


class Server:
    """Serves ``files`` by path on this machine, as told; a number among them is an error to answer with.

    Attributes:
        stop_after: Bytes after which an answer ends too early, one number for each coming answer.
        ranges: Whether it can begin in the middle.
        requests: Path and range of each request so far.
    """

    def __init__(self):
        self.files, self.stop_after, self.ranges, self.requests = {}, [], True, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def answer(self, request):
        asked = request.headers.get("Range")
        self.requests.append((request.path, asked))
        body = self.files.get(request.path)
        if body is None or isinstance(body, int):
            request.send_error(body or 404)
            return
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and self.ranges else 0
        if start and start >= len(body):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        end = start + self.stop_after.pop(0) if self.stop_after else len(body)
        request.wfile.write(body[start:end])

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()
