"""Downloading from a server that answers as huggingface.co does: progress, resuming, cancel, and what goes wrong."""

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from changen2.errors import Cancelled, JobError
from changen2.models.catalogue import CATALOGUE
from changen2.models.hub import fetch

MODEL = CATALOGUE["changestar-vitb-s1c1"]
CONTENT = bytes(range(256)) * 4096 * 24  # 25 MB: more than one of the client's chunks
CONFIG = json.dumps({MODEL.config_key: "weights.pth", "bad": 3}).encode()


class Hub(BaseHTTPRequestHandler):
    """The few answers that the client needs."""

    files: ClassVar[dict[str, bytes]] = {}
    ranges: ClassVar[list[str]] = []
    digest: ClassVar[bool] = False  # whether the ETag is the SHA-256, as of files in LFS

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        prefix = f"/{MODEL.repository}/resolve/main/"
        if self.path.startswith("/api/models/"):
            listing = [{"type": "file", "path": name, "size": 1, "oid": "1" * 40} for name in self.files]
            return self.send(json.dumps(listing).encode(), body)
        name = self.path.removeprefix(prefix)
        if name not in self.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self.send(self.files[name], body)

    def send(self, content, body):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if "Range" in self.headers and body:
            self.ranges.append(self.headers["Range"])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest() if self.digest else len(content)}"')
        self.send_header("X-Repo-Commit", "1" * 40)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    """The address of a running server."""
    monkeypatch.setattr(Hub, "files", {"config.json": CONFIG, "weights.pth": CONTENT, "README.md": b"x"})
    monkeypatch.setattr(Hub, "ranges", [])
    monkeypatch.setattr(Hub, "digest", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_file_that_the_config_names_with_progress(hub, tmp_path):
    told = []
    path = fetch(MODEL, tmp_path, lambda done, total: told.append((done, total)), endpoint=hub)
    assert path.name == "weights.pth" and path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT)) and len(told) > 1


def test_a_stopped_download_goes_on_where_it_was(hub, tmp_path):
    def stop(done, total):
        raise Cancelled()

    with pytest.raises(Cancelled):
        fetch(MODEL, tmp_path, stop, endpoint=hub)
    told = []
    path = fetch(MODEL, tmp_path, lambda done, total: told.append(done), endpoint=hub)
    assert path.read_bytes() == CONTENT
    assert Hub.ranges and int(Hub.ranges[-1].removeprefix("bytes=").split("-")[0]) > 0
    assert told[0] > len(CONTENT) // 4


def test_a_part_whose_end_was_lost_is_not_taken_for_the_file(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "digest", True)

    def lose_the_end(done, total):
        (part,) = tmp_path.glob("weights.pth.*.part")
        with part.open("r+b") as file:
            file.seek(done - 1000)
            file.write(bytes(1000))
        raise Cancelled()

    with pytest.raises(Cancelled):
        fetch(MODEL, tmp_path, lose_the_end, endpoint=hub)
    with pytest.raises(JobError, match="did not arrive as") as caught:
        fetch(MODEL, tmp_path, lambda done, total: None, endpoint=hub)
    assert caught.value.code == "damaged" and not list(tmp_path.glob("weights.pth*"))
    assert fetch(MODEL, tmp_path, lambda done, total: None, endpoint=hub).read_bytes() == CONTENT


def test_a_repository_with_one_file_of_weights_needs_no_config(hub, tmp_path):
    bare = replace(MODEL, config_key="")
    assert fetch(bare, tmp_path, lambda done, total: None, endpoint=hub).name == "weights.pth"
    Hub.files["second.pth"] = b""
    with pytest.raises(JobError, match="2 files of weights") as caught:
        fetch(bare, tmp_path, lambda done, total: None, endpoint=hub)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    "model",
    [
        replace(MODEL, config_key="absent"),
        replace(MODEL, config_key="bad"),
        replace(MODEL, file_name="gone.pth"),
    ],
)
def test_what_is_not_there_names_the_way_out(hub, tmp_path, model):
    with pytest.raises(JobError) as caught:
        fetch(model, tmp_path, lambda done, total: None, endpoint=hub)
    assert caught.value.code == "not_found"
    assert "changen2 models import changestar-vitb-s1c1 FILE" in caught.value.hint


def test_no_network_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client tries again, at growing intervals
    with pytest.raises(JobError) as caught:
        fetch(MODEL, tmp_path, lambda done, total: None, endpoint="http://127.0.0.1:9")
    assert caught.value.code == "offline"
    assert "HTTPS_PROXY" in caught.value.hint and "models import" in caught.value.hint
