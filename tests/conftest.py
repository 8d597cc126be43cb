"""What all tests share: where the imagery beside the project lies."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _beside(*parts: str) -> Path:
    """A folder beside the project; the test skips, and says so, where it is absent."""
    folder = ROOT.parent.joinpath("shared", *parts)
    if not folder.is_dir():
        pytest.skip(f"needs {'/'.join(parts)} in the folder 'shared' beside the project, which is not there")
    return folder


@pytest.fixture
def shared_data() -> Path:
    """Real imagery."""
    return _beside("data")


@pytest.fixture
def shared_reference() -> Path:
    """Outputs of the published implementation."""
    return _beside("reference")
