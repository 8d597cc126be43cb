"""Workers that join a cluster while it works, that run another version, or that share a machine's GPUs."""

import itertools
import math

import distributed
import numpy as np
import pytest
import stand_in
import torch

from changen2.errors import InputError, JobError
from changen2.jobs.cluster.crew import AHEAD, crew
from changen2.jobs.cluster.staff import Staff, Worker, own_gpus

CHANGEN2 = ("changen2.jobs.cluster.staff", "__version__")
TORCH = ("torch", "__version__")
GDAL = ("rasterio", "__gdal_version__")


@pytest.fixture
def growing(monkeypatch):
    """A cluster of one worker process, and a client that adds another: ``cluster, client, grow``."""
    monkeypatch.setattr("changen2.jobs.cluster.staff.MEET_S", 0)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):

        def grow():
            before = set(client.nthreads())
            cluster.scale(2)
            client.wait_for_workers(2)
            return list(set(client.nthreads()) - before)

        yield cluster, client, grow


def test_a_worker_that_joins_gets_its_share(growing):
    cluster, _, grow = growing
    taken = []
    items = (taken.append(number) or number for number in itertools.count())
    with crew(1, cluster.scheduler_address, "cpu") as hands:
        found = hands.in_order(math.factorial, items, lambda: None)
        assert next(found) == 1 and len(taken) == hands.size == 1
        grow()
        assert [next(found) for _ in range(3)] == [1, 2, 6]
        assert hands.size == 2 and len(taken) == 3 + AHEAD * 2
        found.close()


def test_another_version_is_refused_at_once_and_when_it_joins(growing):
    cluster, client, grow = growing
    with crew(1, cluster.scheduler_address, "cpu") as hands:
        found = hands.in_order(math.factorial, itertools.count(), lambda: None)
        assert next(found) == 1
        client.run(stand_in.pretend_version, *TORCH, "0.0.1", workers=grow())
        with pytest.raises(JobError, match=r"torch 0\.0\.1,") as caught:
            next(value for value in found if value < 0)
    assert caught.value.code == "other_version" and "--resume" in caught.value.hint
    with pytest.raises(InputError, match=r"torch 0\.0\.1,"), crew(1, cluster.scheduler_address, "cpu"):
        pass


def test_a_scheduler_that_has_gone_is_said(monkeypatch):
    monkeypatch.setattr("changen2.jobs.cluster.staff.MEET_S", 0)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster.scheduler.address, timeout=1, set_as_default=False) as client,
    ):
        staff = Staff(client, "there", 30)
        assert staff.threads() == 1
        cluster.close()
        gave_up = False
        while not gave_up:  # while the client tries to connect again, and when it does no more
            gave_up = client.status == "closed"
            with pytest.raises(JobError, match="scheduler at there does not answer") as caught:
                staff.threads()
            assert caught.value.code == "worker_lost" and "--resume" in caught.value.hint


def test_a_worker_that_cannot_run_changen2_is_named(growing):
    """The others can: it is not the cluster that has no worker."""
    cluster, client, grow = growing
    (good,) = client.nthreads()
    with crew(1, cluster.scheduler_address, "cpu") as hands:
        (bad,) = grow()
        client.run(stand_in.forget_changen2, workers=[bad])
        with pytest.raises(JobError) as late:
            list(hands.in_order(math.factorial, itertools.count(), lambda: None))
    with pytest.raises(InputError) as early, crew(1, cluster.scheduler_address, "cpu"):
        pass
    for caught in (late.value, early.value):
        assert bad in caught.message and good not in caught.message and "cannot run changen2" in caught.message
        assert caught.code == "no_cluster"
    assert "--resume" in late.value.hint and "--resume" not in early.value.hint


def test_a_task_does_not_begin_on_another_version(growing, monkeypatch):
    """Also where the worker joined so lately that nobody has met it yet."""
    cluster, client, _ = growing
    with crew(1, cluster.scheduler_address, "cpu") as hands:
        monkeypatch.setattr("changen2.jobs.cluster.staff.MEET_S", math.inf)
        for name, place in {"torch": TORCH, "GDAL": GDAL, "changen2": CHANGEN2}.items():
            (runs,) = client.run(stand_in.pretend_version, *place, "0.0.1").values()
            with pytest.raises(JobError) as caught:
                list(hands.in_order(math.factorial, [-1], lambda: None))  # would raise ValueError
            there, here = caught.value.message.split(". Here it is ")
            assert f"{name} 0.0.1" in there and f"{name} {runs.split('+')[0]}" in here
            client.run(stand_in.pretend_version, *place, runs)
        client.run(stand_in.pretend_version, *TORCH, f"{torch.__version__.split('+')[0]}+cu999")
        assert list(hands.in_order(math.factorial, [3], lambda: None)) == [6], "what it was built for does not matter"


@pytest.mark.parametrize("seed", range(20))
def test_workers_of_a_machine_share_its_gpus_out_evenly(seed):
    rng = np.random.default_rng(seed)
    visible = {f"host{number}": int(rng.integers(1, 5)) for number in range(3)}
    workers, own = {}, {}
    for number in range(15):
        host = f"host{rng.integers(3)}"
        workers[f"tcp://{number}"] = Worker("1", 1, 1.0, host, visible[host])
        before = dict(own)
        own = own_gpus(workers, own)
        assert before.items() <= own.items(), "a GPU stays with its worker"
    for host, count in visible.items():
        there = [own.get(address) for address, worker in workers.items() if worker.host == host]
        if count == 1:
            assert set(there) <= {None}, "its own CUDA_VISIBLE_DEVICES says which"
        else:
            used = np.bincount(np.array(there, int), minlength=count)
            assert used.size == count and used.max() - used.min() <= 1


def test_the_gpu_of_a_worker_that_has_left_is_given_again():
    workers = {name: Worker("1", 1, 1.0, "host", 2) for name in "ab"}
    own = own_gpus(workers, {})
    assert sorted(own.values()) == [0, 1]
    workers = {"b": workers["b"], "c": workers["a"]}
    assert own_gpus(workers, {"b": own["b"]}) == {"b": own["b"], "c": own["a"]}
