"""Every job says that a file cannot be written, wherever the disk is full, and leaves nothing that is of no use.

What a process may write to one file is limited: to the libraries that is what a full disk is.
"""

from contextlib import contextmanager

import pytest
import stand_in

from changen2.errors import JobError
from changen2.jobs import synthesize as synthesis
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.sample import sample
from changen2.jobs.simulate import simulate
from changen2.models.registry import ModelCard
from changen2.protocol import SynthesizeRequest, validate

resource = pytest.importorskip("resource", reason="the system does not limit the size of files")

CARD = ModelCard(
    name="flat", architecture="none", title="Flat colours", task="synthesize", gsd_min=0.2, gsd_max=1, gsd_native=0.5,
    licence="Apache-2.0", sha256="", classes=[{"index": 4, "name": "building", "color": "#808080"}],
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("scene"), size=128)["outputs"]


@contextmanager
def no_file_above(size):
    """Limit the bytes of a file; no longer than a job takes, for the report of the tests may be a file, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def synthesize(image, out):
    given = {"image": image, "out_dir": str(out), "simulate": "remove", "sampling_steps": 2, "threads": 1}
    synthesis.run_with(validate(SynthesizeRequest, given), CARD, stand_in.load, Reporter())


JOBS = {
    "sample": lambda scene, out: sample(out, size=128),
    "simulate": lambda scene, out: simulate(scene["labels_before"], out),
    "synthesize": lambda scene, out: synthesize(scene["before"], out),
}


@pytest.mark.parametrize("size", [0, 100, 2_000, 10_000])
@pytest.mark.parametrize("job", JOBS)
def test_a_full_disk_is_said(job, size, scene, tmp_path):
    with pytest.raises(JobError, match="cannot be written") as caught, no_file_above(size):
        JOBS[job](scene, tmp_path / "out")
    assert caught.value.code == "disk" and "disk space" in caught.value.hint
    assert not (tmp_path / "out").exists()
