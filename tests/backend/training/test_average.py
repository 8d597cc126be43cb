"""The mean of two rounds' weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from changen2.errors import InputError
from changen2.training.average import average


def test_weights_are_averaged_and_keep_their_precision(tmp_path: Path) -> None:
    kinds = {"matrix": torch.float16, "bias": torch.float32, "steps": torch.int64}
    for number, name in enumerate("ab"):
        save_file({key: torch.full((2, 2), 2 * number, dtype=kind) for key, kind in kinds.items()}, tmp_path / name)
    mean = average(tmp_path / "a", tmp_path / "b")
    assert {key: value.dtype for key, value in mean.items()} == kinds
    assert (mean["matrix"] == 1).all() and (mean["bias"] == 1).all() and (mean["steps"] == 2).all()


@pytest.mark.parametrize("other", [{"x": torch.zeros(2)}, {"x": torch.zeros(3), "y": torch.zeros(1)}])
def test_weights_of_other_networks_are_refused(tmp_path: Path, other: dict[str, torch.Tensor]) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "a")
    save_file(other, tmp_path / "b")
    with pytest.raises(InputError, match=r"not of the same network: [xy] differs"):
        average(tmp_path / "a", tmp_path / "b")
