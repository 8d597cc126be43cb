import numpy as np
import pytest
import torch

from changen2.errors import InputError
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.reports import frechet


def test_gaussians_of_known_distance():
    # Independent axes: the squared difference of the means and of the standard deviations, axis by axis.
    found = frechet.gaussian_distance(np.zeros(3), np.diag([1.0, 4, 9]), np.array([1.0, 2, 0]), np.diag([4.0, 1, 9]))
    assert found == pytest.approx(1 + 4 + (1 - 2) ** 2 + (2 - 1) ** 2)


def test_a_distance_does_not_depend_on_the_axes():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    first, second = np.diag([1.0, 4, 9]), np.diag([4.0, 1, 9])
    turned = frechet.gaussian_distance(np.zeros(3), turn @ first @ turn.T, np.zeros(3), turn @ second @ turn.T)
    assert turned == pytest.approx(2)


def test_covariances_that_do_not_commute():
    first, second = np.array([[2.0, 1], [1, 2]]), np.array([[3.0, 0], [0, 1]])
    # In two dimensions tr √(AB) = √(tr AB + 2 √det AB).
    shared = np.sqrt(np.trace(first @ second) + 2 * np.sqrt(np.linalg.det(first @ second)))
    found = frechet.gaussian_distance(np.zeros(2), first, np.zeros(2), second)
    assert found == pytest.approx(4 + 4 - 2 * shared)


def test_moments_of_tiles_are_those_of_all_their_cells():
    values = np.random.default_rng(0).normal(size=(5, 49, 4))
    mean, covariance = frechet.Moments.of(values).of_tiles(np.array([0, 0, 3]))
    cells = values[[0, 0, 3]].reshape(-1, 4)
    assert mean == pytest.approx(cells.mean(0))
    assert covariance == pytest.approx(np.cov(cells, rowvar=False, bias=True))


def test_a_projection_keeps_the_main_axes():
    values = np.random.default_rng(0).normal(size=(20, 49, 6)) * [1, 9, 1, 1, 5, 1]
    projected = frechet.Projection.fit(values, dimensions=2)(values)
    assert projected.std((0, 1)) == pytest.approx([9, 5], rel=0.1)


def test_tiles_from_afar_are_farther():
    rng = np.random.default_rng(0)
    real, near, far = (frechet.Moments.of(rng.normal(mean, 1, (30, 49, 4))) for mean in (0, 0.5, 1))
    ratio = frechet.ratio_score(far, near, real, resamples=50)
    assert ratio.value == pytest.approx(4, rel=0.25)
    assert ratio.low < ratio.value < ratio.high


def test_a_set_is_as_far_as_itself_and_not_away_from_itself():
    rng = np.random.default_rng(0)
    real, drawn = (frechet.Moments.of(rng.normal(mean, 1, (10, 49, 4))) for mean in (0, 1))
    ratio = frechet.ratio_score(drawn, drawn, real, resamples=20)
    assert (ratio.low, ratio.value, ratio.high) == (1, 1, 1)
    assert frechet.distance_score(real, real, resamples=5).value == pytest.approx(0, abs=1e-9)


def test_sets_of_different_sizes_are_no_pairs():
    rng = np.random.default_rng(0)
    first, second = (frechet.Moments.of(rng.normal(size=(count, 49, 4))) for count in (3, 4))
    with pytest.raises(InputError):
        frechet.distance_score(first, second)


def test_a_tile_has_49_cells():
    torch.manual_seed(0)
    encoder = EfficientNetLite("lite0").eval()
    pictures = np.random.default_rng(0).integers(0, 255, (2, 3, 256, 256)).astype(np.uint8)
    assert frechet.cell_features(encoder, pictures, batch=1).shape == (2, 49, 320)
    with pytest.raises(InputError):
        frechet.cell_features(encoder, pictures[:, :, :200])
