"""Work for many processes: results in order, a lost worker, and the same bytes however many there are."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import distributed
import numpy as np
import psutil
import pytest
import stand_in
from PIL import Image

from changen2.errors import Cancelled, InputError, JobError
from changen2.jobs import generate as job
from changen2.jobs.cluster.crew import Crew, crew
from changen2.jobs.runs.progress import Reporter
from changen2.models.registry import ModelCard
from changen2.protocol import GenerateRequest, validate

CARD = ModelCard(
    name="flat", architecture="none", title="Flat colours", task="synthesize", gsd_min=0.2, gsd_max=1, gsd_native=0.5,
    licence="Apache-2.0", sha256="", classes=[{"index": 4, "name": "building", "color": "#808080"}],
)  # fmt: skip

WAITING = """
from changen2.jobs.cluster.crew import crew

with crew(2, None, "cpu") as hands:
    print(list(hands.in_order(abs, range(4), lambda: None)), flush=True)
    input()
"""


@pytest.fixture
def make(tmp_path):
    """Make a data set of 64 pairs: ``make(name, **options)`` returns file → bytes of it."""
    rng = np.random.default_rng(3)
    labels = np.zeros((200, 240), np.uint8)
    for row in range(20, 180, 40):
        for column in range(16, 220, 32):
            labels[row : row + 14, column : column + 12] = 255
    for folder, values in (("images", rng.integers(60, 160, (200, 240, 3)).astype(np.uint8)), ("masks", labels)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / "town.png")

    def run(name, on_pairs=lambda done: None, **options):
        def is_cancelled():
            drawn = tmp_path / name / ".changen2-work" / "semantic_B"
            on_pairs(len(list(drawn.iterdir())) if drawn.exists() else 0)
            return False

        given = {"image_dir": str(tmp_path / "images"), "labels": str(tmp_path / "masks"), "pairs": 64, "size": 64}
        request = validate(GenerateRequest, {**given, "out_dir": str(tmp_path / name), "sampling_steps": 2, **options})
        job.run_with(request, CARD, stand_in.load, Reporter(None, is_cancelled))
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file() and path.name != "manifest.json"]
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    return run


def test_a_data_set_is_the_same_on_one_process_on_two_and_on_a_cluster_that_loses_a_worker(make, cluster):
    one = make("one")
    assert len(one) == 5 * 64 + 2
    assert make("two", workers=2) == one
    lost = []

    def kill(done):
        if done >= 32 and not lost:
            lost.append(cluster.workers[0].pid)
            os.kill(lost[0], signal.SIGKILL)

    assert make("cluster", kill, dask=cluster.scheduler_address) == one
    assert lost and lost[0] not in [worker.pid for worker in cluster.workers.values()]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_their_tasks(workers):
    with crew(workers, None, "cpu") as hands:
        found = list(hands.in_order(math.factorial, range(30, 0, -1), lambda: None))
    assert found == [math.factorial(number) for number in range(30, 0, -1)]


def test_who_works_is_not_asked_when_all_is_done():
    """A worker of another version that joins then, or none that is left, does not take back what is finished."""
    joined = []

    def size():
        if joined:
            raise JobError("Another version joined.", hint="", code="other_version")
        return 1

    with ThreadPoolExecutor(1) as pool:
        found = []
        for value in Crew(pool, size).in_order(math.factorial, [3, 4], lambda: None):
            found.append(value)
            joined += [value] * (len(found) == 2)
    assert found == [6, 24] and joined


def test_a_finished_data_set_is_written_though_its_workers_have_left(tmp_path, make, monkeypatch):
    """Its manifest tells how many there were when the drawing began."""
    here, left = ThreadPoolExecutor(1), []

    @contextmanager
    def leaving(*_):
        with here:
            yield Crew(here, lambda: 0 if left else 3)

    monkeypatch.setattr(job, "crew", leaving)
    make("out", lambda done: left.append(done) if done else None)
    assert left and json.loads((tmp_path / "out" / "manifest.json").read_text())["workers"] == 3


@pytest.mark.parametrize("at_work", [1, 2])
def test_what_is_drawn_stays_when_a_task_is_refused(tmp_path, make, monkeypatch, at_work):
    """As by a worker that has joined without the model's weights."""
    whole, draw = make("whole"), job.make_files

    def without_weights(workshop, order):
        if order.number == 40:
            raise InputError("Its weights are missing.", code="missing_file")
        return draw(workshop, order)

    @contextmanager
    def threads(*asked):
        with ThreadPoolExecutor(at_work) as pool:
            yield Crew(pool, lambda: at_work)

    with monkeypatch.context() as joined, pytest.raises(InputError, match="weights are missing"):
        joined.setattr(job, "make_files", without_weights)
        joined.setattr(job, "crew", threads)
        make("part")
    assert len(list((tmp_path / "part/.changen2-work/A").iterdir())) == 40
    assert make("part", resume=True) == whole


def test_a_cluster_without_workers_is_told_once_each_time(caplog):
    """Its tasks wait for somebody to join; a person would see nothing happen."""
    joined, sizes = threading.Event(), iter([2, 0, 0, 2, 0, 0, 0])

    def size():
        found = next(sizes, 2)
        if found == 2 and "No worker" in caplog.text:
            joined.set()
        return found

    with ThreadPoolExecutor(1) as pool:
        assert all(Crew(pool, size).in_order(lambda _: joined.wait(60), range(20), lambda: None))
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 2 and told[0] == told[1] and "Ctrl-C" in told[0]


def test_a_check_that_raises_ends_the_work(cluster):
    def cancel():
        raise Cancelled()

    with crew(1, cluster.scheduler_address, "cpu") as hands, pytest.raises(Cancelled):
        list(hands.in_order(math.factorial, range(1000), cancel))


def test_an_error_of_a_task_arrives_as_it_was(cluster):
    with crew(1, cluster.scheduler_address, "cpu") as hands, pytest.raises(ValueError, match="negative"):
        list(hands.in_order(math.factorial, [3, -1, 4], lambda: None))


def run_out(error):
    raise error


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [MemoryError("8 GiB"), RuntimeError("CUDA error: out of memory")])
def test_a_task_for_which_memory_does_not_suffice_is_said_in_words(workers, error):
    with crew(workers, None, "cpu") as hands, pytest.raises(JobError, match="out of memory") as caught:
        list(hands.in_order(run_out, [error], lambda: None))
    assert caught.value.code == "out_of_memory" and caught.value.hint


def test_a_process_that_dies_is_said():
    with crew(2, None, "cpu") as hands, pytest.raises(JobError, match="lost") as error:
        list(hands.in_order(os._exit, [1, 1], lambda: None))
    assert error.value.code == "worker_lost"


def test_processes_end_with_the_one_that_started_them_however_it_ends():
    """Both wait for a task when it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout.readline() == "[0, 1, 2, 3]\n"
        children = psutil.Process(parent.pid).children()
        parent.kill()
        parent.wait()
    assert len(children) >= 2
    _, left = psutil.wait_procs(children, timeout=60)
    assert not left


def test_a_cluster_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("changen2.jobs.cluster.crew.CONNECT_S", 0.2)
    with pytest.raises(InputError, match="No Dask scheduler") as error, crew(1, "tcp://127.0.0.1:9", "cpu"):
        pass
    assert error.value.code == "no_cluster"


def test_tasks_take_a_gpu_each_where_workers_announce_them():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=4, processes=False, resources={"GPU": 2}, dashboard_address=":0"
    ) as cluster:
        # Four threads could work, but there are two GPUs to go round.
        with crew(1, cluster.scheduler.address, "auto") as hands:
            assert hands.on_gpus
            assert hands.size == 2 and list(hands.in_order(math.factorial, [3, 4], lambda: None)) == [6, 24]
        with crew(1, cluster.scheduler.address, "cpu") as hands:
            assert hands.size == 4 and not hands.on_gpus
