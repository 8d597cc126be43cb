"""What tests of work on many processes share: a cluster, and a generator that its workers can import."""

import sys
from pathlib import Path

import distributed
import pytest

# Worker processes are started with this path, so that they find the stand-in by its name.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes with one thread each; a nanny starts a lost one again."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as running:
        yield running
