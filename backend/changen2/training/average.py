"""The mean of the weights of two rounds of a detector, one of which began with the other.

``python -m changen2.training.average A B OUT``. Between such weights the loss hardly rises, and their mean is often as
good as the better of the two on each kind of image (model soups, Wortsman et al. 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from changen2.errors import InputError


def average(first: Path, second: Path) -> dict[str, Tensor]:
    """The mean of two exported weights, in their precision; what counts steps is the second's.

    Raises:
        InputError: they are not of the same network.
    """
    a, b = load_file(first), load_file(second)
    differing = [
        name for name in a.keys() | b.keys() if name not in a or name not in b or a[name].shape != b[name].shape
    ]
    if differing:
        raise InputError(
            f"{first} and {second} are not of the same network: {min(differing)} differs.",
            hint="Give the weights of two rounds of one training.",
            code="bad_weights",
        )
    return {
        name: ((a[name].double() + value.double()) / 2).to(value.dtype) if value.is_floating_point() else value
        for name, value in b.items()
    }


def main() -> None:
    """Average what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("first", "second", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    save_file(average(given.first, given.second), given.out)


if __name__ == "__main__":
    main()
