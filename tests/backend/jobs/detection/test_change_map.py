"""What is stored of a model's planes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from changen2.jobs.detection.change_map import LEVELS, Decoder
from changen2.models.catalogue import CATALOGUE
from changen2.models.predictor import QUANTUM

DAMAGE = CATALOGUE["changestar-vitb-s1c5"].card


def _decoded(change: np.ndarray) -> dict[str, np.ndarray]:
    """Layers of the damage model, of the probabilities ``[5, n]`` of its grades."""
    planes = np.full((7, 1, change.shape[1]), QUANTUM, np.uint16)
    planes[:5, 0] = np.rint(change * QUANTUM)
    decoder = Decoder(DAMAGE)
    return dict(zip(decoder.layers, decoder(planes, np.ones(planes.shape[1:], bool)), strict=True))


def test_what_is_no_building_and_what_is_intact_has_not_changed() -> None:
    found = _decoded(np.eye(5))
    assert found["change_class"].tolist() == [[0, 1, 2, 3, 4]]
    assert found["change_probability"].tolist() == [[1, 1, 255, 255, 255]]


@given(st.integers(0, 2**32))
def test_change_is_the_sum_of_the_grades_of_damage(seed: int) -> None:
    grades = np.random.default_rng(seed).dirichlet(np.full(5, 0.3), 64).T
    stored = (_decoded(grades)["change_probability"][0].astype(float) - 1) / LEVELS
    np.testing.assert_allclose(stored, grades[2:].sum(axis=0), atol=0.5 / LEVELS + 1 / QUANTUM)
