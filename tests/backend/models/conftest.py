"""What the tests of the published models share: weights that anyone can rebuild."""

import sys
from pathlib import Path

import pytest
import torch

# The benchmark against the published implementation uses the same file, in a process without pytest.
sys.path.insert(0, str(Path(__file__).parent))
import rebuilt_weights


@pytest.fixture(scope="session")
def rebuild():
    """A function from a model, or from shapes by name, to a state dict of rebuilt weights."""

    def state_dict(source):
        if isinstance(source, torch.nn.Module):
            source = {name: tuple(value.shape) for name, value in source.state_dict().items()}
        return {name: torch.from_numpy(array) for name, array in rebuilt_weights.rebuilt(source).items()}

    return state_dict
