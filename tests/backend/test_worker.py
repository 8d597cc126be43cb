"""The real worker process, spoken to as QGIS does."""

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from changen2.protocol import LINE_LIMIT
from changen2.worker import Worker, _logged_to


class Client:
    def __init__(self, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "changen2", "worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.seen = []

    def send(self, line):
        self.process.stdin.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def request(self, identity, method, **params):
        self.send({"jsonrpc": "2.0", "id": identity, "method": method, "params": params})

    def until(self, wanted):
        """Read lines until one satisfies ``wanted``."""
        for line in self.process.stdout:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            self.seen.append(message)
            if wanted(message):
                return message
        raise AssertionError(f"the worker ended with {self.process.wait()}")

    def answer(self, identity):
        return self.until(lambda message: "method" not in message and message["id"] == identity)


@pytest.fixture(scope="module")
def shared():
    client = Client()
    yield client
    client.process.kill()
    client.process.wait()


@pytest.fixture
def client():
    client = Client()
    yield client
    client.process.kill()
    client.process.wait()


def test_it_speaks_first(shared):
    hello = shared.until(lambda message: message.get("method") == "hello")["params"]
    assert hello["protocol"] == 1 and hello["pid"] == shared.process.pid
    assert hello["devices"][-1]["name"] == "cpu"
    assert "tiny" in {card["name"] for card in hello["models"]}


def test_it_speaks_first_also_where_it_has_to_warn(tmp_path):
    models = tmp_path / "token=hush"
    models.touch()  # where a folder is expected
    client = Client(CHANGEN2_MODELS=str(models))
    warning = client.until(lambda message: message.get("method") == "log")["params"]
    client.process.kill()
    client.process.wait()
    assert [message["method"] for message in client.seen] == ["hello", "log"]
    assert warning["level"] == "warning" and "token=" in warning["message"] and "hush" not in warning["message"]


@pytest.mark.parametrize(
    ("line", "code", "identity"),
    [
        (b"no json\n", -32700, None),
        (b"[1, 2]\n", -32600, None),
        (b'{"jsonrpc": "2.0", "id": 5}\n', -32600, 5),
        (b'{"jsonrpc": "2.0", "id": 6, "method": "dance"}\n', -32601, 6),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "detect", "params": {"before": 3}}\n', -32602, 7),
        (b'{"x": "' + b"y" * 2_000_000 + b'"}\n', -32700, None),
        (b"[" * 100_000 + b"]" * 100_000 + b"\n", -32700, None),
        (b"9" * 10_000 + b"\n", -32700, None),
        (b'"\xff"\n', -32700, None),
    ],
)
def test_what_it_cannot_take_is_answered_with_a_code(shared, line, code, identity):
    shared.send(line)
    reply = shared.until(lambda message: "error" in message)
    assert reply["id"] == identity and reply["error"]["code"] == code
    assert reply["error"]["message"] and reply["error"]["data"]["code"]


def test_a_bug_is_answered_also_while_it_reads(shared, tmp_path):
    """It can be cancelled and asked afterwards."""
    nested = 400
    while nested < 100_000:  # deep enough to be parsed and not to be looked at, wherever that is
        value = b"[" * nested + b"]" * nested
        shared.send(b'{"jsonrpc": "2.0", "id": "n", "method": "models", "params": {"x": ' + value + b"}}\n")
        assert shared.until(lambda message: "error" in message)["error"]["data"]["code"]
        nested *= 2
    shared.request("after", "models")
    assert shared.answer("after")["result"]["models"]


def test_a_worker_that_cannot_read_any_more_ends(monkeypatch):
    class Broken(io.BytesIO):
        def readline(self, size=-1):
            raise OSError("the pipe is broken")

    ended = []
    monkeypatch.setattr("changen2.worker.os._exit", ended.append)
    Worker(Broken(), io.BytesIO())._read()
    assert ended[0] == 1


@pytest.fixture
def told():
    """Let a worker send a message; return what a client gets."""

    def send(message):
        outgoing = io.BytesIO()
        Worker(io.BytesIO(), outgoing)._send(message)
        lines = outgoing.getvalue().splitlines(keepends=True)
        assert all(len(line) <= LINE_LIMIT for line in lines)
        (received,) = map(json.loads, lines)
        return received

    return send


@pytest.mark.parametrize("length", [100, 100_000, 2_000_000])
def test_a_job_that_is_done_has_not_failed_for_its_warnings(told, length):
    warnings = [f"{number} {'ä' * length}" for number in range(200_000_000 // (length * 100))]
    received = told({"id": 4, "result": {"summary": {"steps": 1}, "warnings": warnings}})
    *kept, rest = received["result"]["warnings"]
    assert received["id"] == 4 and received["result"]["summary"] == {"steps": 1}
    assert kept == warnings[: len(kept)] and f" {len(warnings) - len(kept):,} more" in rest


@pytest.mark.parametrize("letter", ["a", "\0", "𝄞"])
def test_a_long_log_is_cut_and_no_answer(told, letter):
    received = told({"method": "log", "params": {"level": "info", "message": letter * (LINE_LIMIT + 1)}})
    assert received["method"] == "log" and "id" not in received and "error" not in received
    assert received["params"]["level"] == "info" and received["params"]["message"].startswith(letter * 1000)


def test_bad_input_names_value_and_next_step(shared, tmp_path):
    shared.request("x", "detect", before=str(tmp_path / "none.tif"), after="b.tif", out_dir=str(tmp_path / "out"))
    error = shared.answer("x")["error"]
    assert error["code"] == -32602 and error["data"] == {"code": "missing_file", "hint": "Check the path."}
    assert "none.tif" in error["message"]


def test_no_credentials_are_sent(shared, tmp_path):
    source = "/vsicurl/http://ada:hush@127.0.0.1:9/a.tif?token=hush"
    shared.request("s", "detect", before=source, after=source, out_dir=str(tmp_path / "out"))
    error = shared.answer("s")["error"]
    assert error["data"]["code"] == "unreadable" and "127.0.0.1" in error["message"] and "hush" not in str(error)


def test_detect_reports_and_answers(shared, pair, tmp_path):
    shared.request(10, "estimate", before=str(pair[0]), after=str(pair[1]))
    assert shared.answer(10)["result"]["seconds"] is None, "nothing has been measured yet"
    shared.request(11, "detect", before=str(pair[0]), after=str(pair[1]), out_dir=str(tmp_path / "run"), tile_size=128)
    result = shared.answer(11)["result"]
    assert set(result["outputs"]) >= {"change_probability", "change", "polygons", "manifest"}
    steps = [message["params"] for message in shared.seen if message.get("method") == "progress"]
    detect = [step for step in steps if step["id"] == 11 and step["stage"] == "detect"]
    assert detect[-1]["done"] == detect[-1]["total"] > 1


def test_estimate_writes_nothing(shared, pair, tmp_path):
    shared.request(12, "estimate", before=str(pair[0]), after=str(pair[1]))
    estimate = shared.answer(12)["result"]
    assert (estimate["width"], estimate["height"]) == (400, 300) and estimate["tiles"] >= 1
    assert estimate["gsd_m"] == pytest.approx(0.5, rel=1e-2)


def test_after_a_run_the_time_is_known(shared, pair, tmp_path):
    common = {"before": str(pair[0]), "after": str(pair[1]), "tile_size": 64, "overlap": 0}
    shared.request(14, "detect", out_dir=str(tmp_path / "run"), **common)
    shared.answer(14)
    for tile_size in (64, 128):  # known for other tiles, too
        shared.request(15, "estimate", **{**common, "tile_size": tile_size})
        assert shared.answer(15)["result"]["seconds"] > 0


def test_who_waits_for_another_job_is_told_so():
    outgoing = io.BytesIO()
    worker = Worker(io.BytesIO(), outgoing)
    for identity in (1, 2, 3):
        worker._take(json.dumps({"jsonrpc": "2.0", "id": identity, "method": "sample", "params": {}}).encode())
    told = [json.loads(line) for line in outgoing.getvalue().splitlines()]
    assert [(message["method"], message["params"]["id"], message["params"]["stage"]) for message in told] == [
        ("progress", 2, "queue"),
        ("progress", 3, "queue"),
    ]


@pytest.mark.parametrize("running", [None, 7])
def test_a_log_names_the_job_that_runs(running):
    outgoing = io.BytesIO()
    worker = Worker(io.BytesIO(), outgoing)
    worker._running = running
    with _logged_to(worker):
        pass
    handler = logging.getLogger("changen2").handlers[-1]
    logging.getLogger("changen2").warning("coarse")
    logging.getLogger("changen2").removeHandler(handler)
    told = json.loads(outgoing.getvalue())["params"]
    assert told == {"level": "warning", "message": "coarse", **({} if running is None else {"id": running})}


def test_cancel_during_a_job_and_before_it(client, pair, tmp_path):
    common = {"before": str(pair[0]), "after": str(pair[1]), "tile_size": 32, "overlap": 0}
    client.request(1, "detect", out_dir=str(tmp_path / "a"), **common)
    client.request(2, "detect", out_dir=str(tmp_path / "b"), **common)
    client.until(lambda message: message.get("method") == "progress" and message["params"]["stage"] == "detect")
    client.request(3, "cancel", id=2)
    assert client.answer(2)["error"]["code"] == -32800  # at once, not when the first one is done
    client.request(4, "cancel", id=1)
    assert client.answer(1)["error"]["code"] == -32800
    replies = {message["id"]: message["result"] for message in client.seen if message.get("id") in (3, 4)}
    assert replies == {3: {"cancelled": True}, 4: {"cancelled": True}}
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    client.request(5, "cancel", id=99)
    assert client.answer(5)["result"] == {"cancelled": False}


def test_it_ends_with_its_client(client):
    client.until(lambda message: message.get("method") == "hello")
    client.process.stdin.close()
    assert client.process.wait(timeout=20) == 0


def test_shutdown_is_answered(client):
    client.request(1, "shutdown")
    assert client.answer(1)["result"] == {"ok": True}
    assert client.process.wait(timeout=20) == 0


def test_it_beats_while_idle(shared):
    assert shared.until(lambda message: message.get("method") == "alive")["params"] == {}
