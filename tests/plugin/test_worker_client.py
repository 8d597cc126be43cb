"""The client against scripted processes for what a healthy worker never does, then against the real one."""

import os
import signal
import sys
import threading

import pytest

from changen2_qgis.environment import child_environment
from changen2_qgis.errors import BackendCrashed, BackendError, Cancelled
from changen2_qgis.worker_client import Callbacks, Timing, WorkerClient

FAST = Timing(poll=0.02, silence=0.5, cancel_grace=0.3, terminate_grace=0.5, start=20, idle=60)

PREAMBLE = """
import json, os, sys, time
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def hello(protocol=1):
    say(method="hello", params={"protocol": protocol, "version": "9", "pid": os.getpid(), "torch": "t",
                                "devices": [{"name": "cpu"}], "models": []})
def requests():
    for line in sys.stdin:
        yield json.loads(line)
"""

ECHO = """
hello()
for request in requests():
    say(id=request["id"], result={"method": request["method"], "params": request["params"], "pid": os.getpid()})
"""


@pytest.fixture
def client_of(stand_in):
    """A function that makes a client of a scripted worker; stopped after the test."""
    clients = []

    def make(script, timing=FAST):
        command = stand_in(PREAMBLE + script)
        clients.append(WorkerClient(lambda: command, lambda: dict(os.environ), timing))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_starts_on_demand_and_returns_the_result(client_of):
    client = client_of(ECHO)
    assert client.pid is None
    assert client.request("detect", {"before": "ä.tif"})["params"] == {"before": "ä.tif"}
    assert client.last_hello.version == "9"
    assert is_running(client.pid)


def test_one_process_serves_requests_of_many_threads(client_of):
    client = client_of(ECHO)
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: client.request("detect", {"n": n})})) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[n]["params"]["n"] for n in range(8)] == list(range(8))
    assert len({result["pid"] for result in results.values()}) == 1


def test_progress_and_log_reach_the_caller(client_of):
    client = client_of("""
hello()
for request in requests():
    say(method="log", params={"level": "warning", "message": "coarse"})
    say(method="progress", params={"id": request["id"], "stage": "detect", "done": 3, "total": 4, "eta_s": 1.5})
    say(method="progress", params={"id": 999, "stage": "write", "done": 1, "total": 1, "eta_s": None})
    say(id=request["id"], result={})
""")
    told, logged = [], []
    client.request("detect", {}, Callbacks(told.append, lambda *log: logged.append(log)))
    assert [(p.stage, p.done, p.total, p.eta_s) for p in told] == [("detect", 3, 4, 1.5)]
    assert logged == [("warning", "coarse")]


def test_a_log_of_one_request_is_told_to_no_other(client_of):
    client = client_of("""
hello()
both = [request["id"] for request in (next(requests()), next(requests()))]
for n in both:
    say(method="log", params={"id": n, "level": "info", "message": str(n)})
say(method="log", params={"level": "info", "message": "all"})
for n in both:
    say(id=n, result={"id": n})
""")
    client.hello()
    logged, results = {}, {}

    def ask(name):
        logged[name] = []
        log = lambda level, message: logged[name].append(message)  # noqa: E731
        results[name] = client.request("detect", {}, Callbacks(log=log))["id"]

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logged == {name: [str(results[name]), "all"] for name in "ab"}


def test_an_error_keeps_message_hint_and_code(client_of):
    client = client_of("""
hello()
for request in requests():
    say(id=request["id"], error={"code": -32602, "message": "No overlap.",
                                 "data": {"code": "no_overlap", "hint": "Move it."}})
""")
    with pytest.raises(BackendError) as caught:
        client.request("detect", {})
    assert (caught.value.message, caught.value.hint, caught.value.code) == ("No overlap.", "Move it.", "no_overlap")
    assert client.last_hello is not None


def test_garbage_on_the_wire_is_passed_over(client_of):
    client = client_of("""
print("a library prints", flush=True)
hello()
for request in requests():
    sys.stdout.buffer.write(b'\\xff\\xfe\\n{"half": \\n[1, 2]\\n"text"\\n{"method": 7, "params": [1]}\\n{"id": [1]}\\n')
    sys.stdout.buffer.flush()
    say(id=12345, result={})
    say(id=request["id"], result={"fine": True})
""")
    assert client.request("detect", {}) == {"fine": True}


def test_an_endless_line_ends_the_worker(client_of):
    client = client_of("""
hello()
for request in requests():
    sys.stdout.write("x" * (2 << 20)); sys.stdout.flush()
""")
    with pytest.raises(BackendCrashed, match="line of more than"):
        client.request("detect", {})


def test_a_crash_says_why_and_the_next_request_starts_anew(client_of, tmp_path):
    client = client_of(f"""
import pathlib
crashed = pathlib.Path({str(tmp_path / "crashed")!r})
hello()
for request in requests():
    if not crashed.exists():
        crashed.touch()
        print("CUDA error: out of memory", file=sys.stderr, flush=True)
        os._exit(3)
    say(id=request["id"], result={{"again": True}})
""")
    with pytest.raises(BackendCrashed, match=r"(?s)exit code 3.*CUDA error: out of memory"):
        client.request("detect", {})
    assert client.pid is None
    assert client.request("detect", {}) == {"again": True}


def test_a_kill_is_told_to_every_request_that_waits(client_of):
    client = client_of("""
hello()

for request in requests():
    if request["params"].get("last"):
        os.kill(os.getpid(), 9)
""")
    caught = []

    def ask():
        try:
            client.request("detect", {})
        except BackendCrashed as error:
            caught.append(str(error))

    client.hello()
    waiting = threading.Thread(target=ask)
    waiting.start()
    with pytest.raises(BackendCrashed, match="signal 9"):
        client.request("detect", {"last": True})
    waiting.join()
    assert len(caught) == 1 and "signal 9" in caught[0]


def test_silence_ends_the_worker_even_if_it_ignores_the_request_to_end(client_of):
    client = client_of("""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
hello()
next(requests())
while True:
    time.sleep(10)
""")
    pid = client.hello().pid
    with pytest.raises(BackendCrashed, match="silent"):
        client.request("detect", {})
    assert not is_running(pid)


def test_a_long_job_that_says_alive_is_left_alone(client_of):
    client = client_of("""
hello()
for request in requests():
    for _ in range(30):
        time.sleep(0.05)
        say(method="alive", params={})
    say(id=request["id"], result={"done": True})
""")
    assert client.request("detect", {}) == {"done": True}  # 1.5 s of work, silence allowed for 0.5 s


COOPERATIVE = """
hello()
job = None
for request in requests():
    if request["method"] == "cancel":
        say(id=request["id"], result={"cancelled": True})
        say(id=request["params"]["id"], error={"code": -32800, "message": "Cancelled.", "data": {"code": "cancelled"}})
    elif request["method"] == "detect":
        job = request["id"]
    else:
        say(id=request["id"], result={"pid": os.getpid()})
"""


def test_cancel_keeps_a_worker_that_obeys(client_of):
    client = client_of(COOPERATIVE)
    pid = client.hello().pid
    with pytest.raises(Cancelled):
        client.request("detect", {}, Callbacks(cancelled=lambda: True))
    assert client.request("models", {})["pid"] == pid


def test_cancel_ends_a_worker_that_does_not_obey_though_it_goes_on_talking(client_of):
    client = client_of("""
import threading
hello()
request = next(requests())
while True:
    say(method="progress", params={"id": request["id"], "stage": "detect", "done": 1, "total": 2, "eta_s": None})
    time.sleep(0.005)
""")
    pid = client.hello().pid
    with pytest.raises(Cancelled):
        client.request("detect", {}, Callbacks(cancelled=lambda: True))
    assert not is_running(pid)


def test_cancel_while_it_starts(client_of):
    client = client_of("time.sleep(60)")
    with pytest.raises(Cancelled):
        client.request("detect", {}, Callbacks(cancelled=lambda: True))


def assert_another_start_is_not_advised(error):
    """It would end as this one did; another interpreter may not."""
    assert error.code == "no_start" and f"does not start with {sys.executable}" in error.message
    assert "Set up the backend" in error.hint and "Run it again" not in str(error)


def test_no_hello_is_an_error_with_the_last_words(client_of):
    client = client_of("sys.exit('ModuleNotFoundError: No module named changen2')")
    with pytest.raises(BackendCrashed, match="No module named changen2") as caught:
        client.hello()
    assert_another_start_is_not_advised(caught.value)


def test_no_hello_in_time(client_of):
    client = client_of("time.sleep(60)", Timing(poll=0.02, start=0.1, terminate_grace=0.5))
    with pytest.raises(BackendCrashed, match="said nothing") as caught:
        client.hello()
    assert_another_start_is_not_advised(caught.value)


def test_another_protocol_is_refused(client_of):
    client = client_of("hello(protocol=2)\nfor request in requests(): pass")
    with pytest.raises(BackendError, match="protocol 2"):
        client.request("detect", {})


def test_a_command_that_cannot_start(tmp_path):
    client = WorkerClient(lambda: [str(tmp_path / "no" / "python")], lambda: {}, FAST)
    with pytest.raises(BackendCrashed, match="cannot be started"):
        client.hello()


def test_idle_workers_end(client_of):
    client = client_of(
        """
hello()
while True:
    say(method="alive", params={})
    time.sleep(0.02)
""",
        Timing(poll=0.02, idle=0.05, terminate_grace=0.5),
    )
    client.hello()
    process = client._process
    assert process._ended.wait(10)
    assert process.popen.returncode is not None
    assert client.last_hello is None


def test_stop_ends_the_process_and_wakes_who_waits(client_of):
    client = client_of("hello()\nfor request in requests(): say(method='log', params={'message': 'begun'})")
    pid = client.hello().pid
    begun, caught = threading.Event(), []

    def ask():
        try:
            client.request("detect", {}, Callbacks(log=lambda *_: begun.set()))
        except BackendCrashed as error:
            caught.append(str(error))

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert begun.wait(10)
    client.stop()
    client.stop()
    waiting.join()
    assert not is_running(pid)
    assert caught and "was stopped" in caught[0]


def test_the_worker_sees_the_environment_it_is_given(stand_in):
    command = stand_in(PREAMBLE + 'hello()\nfor r in requests(): say(id=r["id"], result=dict(os.environ))')
    leaky = {**os.environ, "PYTHONHOME": "/nowhere", "GDAL_DATA": "/qgis/gdal", "HTTPS_PROXY": "http://proxy:1"}
    client = WorkerClient(lambda: command, lambda: child_environment(leaky), FAST)
    seen = client.request("environ", {})
    client.stop()
    assert "PYTHONHOME" not in seen and "GDAL_DATA" not in seen
    assert seen["HTTPS_PROXY"] == "http://proxy:1"


# The real worker


def test_the_real_worker_says_hello_and_answers(real_backend):
    hello = real_backend.hello()
    assert hello.protocol == 1 and hello.devices[-1]["name"] == "cpu"
    assert isinstance(real_backend.request("models", {})["models"], list)


def test_the_real_worker_refuses_with_a_next_step(real_backend, tmp_path):
    missing = str(tmp_path / "missing.tif")
    with pytest.raises(BackendError) as caught:
        real_backend.request("estimate", {"before": missing, "after": missing, "model": "tiny"})
    assert caught.value.code and caught.value.hint


@pytest.mark.parametrize("code", ["consent_needed", "unknown_model"])
def test_the_next_step_is_one_in_qgis(real_backend, code):
    name = "nobodys"
    if code == "consent_needed":
        asked = (card["name"] for card in real_backend.request("models", {})["models"] if not card["consent"])
        name = next(asked, None) or pytest.skip("all licences were agreed to on this machine")
    with pytest.raises(BackendError) as caught:
        real_backend.request("download_model", {"name": name, "accept_licence": False})
    assert caught.value.code == code
    assert "Models page" in caught.value.hint and "changen2 models" not in caught.value.hint


def test_the_real_worker_killed_while_idle_is_replaced(real_backend):
    first = real_backend.hello().pid
    os.kill(first, signal.SIGKILL)
    real_backend._client._process._ended.wait(10)
    assert real_backend.hello().pid != first
