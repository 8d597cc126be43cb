"""Noise depends on where and when, never on how the work was cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changen2.diffusion.noise import START, latent_noise
from changen2.errors import InputError


@settings(max_examples=40, deadline=None)
@given(
    top=st.integers(-50, 60), left=st.integers(-50, 60), height=st.integers(1, 70), width=st.integers(1, 70),
    row=st.integers(0, 69), column=st.integers(0, 69),
)  # fmt: skip
def test_windows_agree_where_they_overlap(top: int, left: int, height: int, width: int, row: int, column: int) -> None:
    row, column = row % height, column % width
    whole = latent_noise(7, 1, 3, top, left, height, width, 2)
    part = latent_noise(7, 1, 3, top + row, left + column, height - row, width - column, 2)
    assert np.array_equal(whole[:, row:, column:], part)


def test_every_coordinate_of_the_key_matters() -> None:
    base = latent_noise(7, 1, 3, 0, 0, 16, 16, 2)
    assert base.dtype == np.float32
    for other in (
        (8, 1, 3, 0, 0),
        (7, 2, 3, 0, 0),
        (7, 1, 4, 0, 0),
        (7, 3, 1, 0, 0),
        (7, 1, 3, 32, 0),
        (7, 1, 3, 0, 32),
        (2**63 + 1, 1, 3, 0, 0),
    ):
        assert abs(float((latent_noise(*other, 16, 16, 2) * base).mean())) < 0.2
        assert not np.array_equal(latent_noise(*other, 16, 16, 2), base)


def test_it_is_standard_normal_and_white_across_blocks() -> None:
    field = latent_noise(0, 0, START, -256, 512, 256, 256, 4)
    count = field.size
    assert abs(field.mean()) < 5 / np.sqrt(count)
    assert abs(field.var() - 1) < 5 * np.sqrt(2 / count)
    for axis in (1, 2):
        for shift in (1, 32, 64):
            assert abs((field * np.roll(field, shift, axis)).mean()) < 5 / np.sqrt(count)
    assert abs((field[0] * field[1]).mean()) < 5 / 256


def test_more_channels_keep_the_first_ones() -> None:
    assert np.array_equal(latent_noise(1, 0, 2, 5, 5, 20, 20, 4)[:2], latent_noise(1, 0, 2, 5, 5, 20, 20, 2))


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="seed of -1"):
        latent_noise(-1, 0, 0, 0, 0, 4, 4, 1)
    with pytest.raises(InputError, match="sampler step"):
        latent_noise(0, 0, 2**32, 0, 0, 4, 4, 1)


def test_large_seeds_keep_their_last_digit() -> None:
    fields = [latent_noise(seed, 0, 0, 0, 0, 4, 4, 1) for seed in (2**64 - 1, 2**64 - 2)]
    assert not np.array_equal(*fields)
