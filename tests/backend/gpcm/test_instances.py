"""Class-agnostic removal and its contour conditions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_opening

from changen2.gpcm.instances import HALO, choose_instances, contours, contours_after, remove_instances, segment


def patches(seed: int, side: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 12, (side // 8, side // 8)), np.ones((8, 8), int))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_only_whole_instances_go(seed: int) -> None:
    instances = patches(seed)
    removal = remove_instances(instances, seed, 1, probability=0.4)
    assert np.array_equal(removal.change, np.isin(instances, removal.removed))
    assert 0 not in removal.removed
    assert np.array_equal(removal.instances, np.where(removal.change, 0, instances))


def test_contours_lie_on_both_sides_of_a_boundary() -> None:
    instances = np.zeros((6, 8), int)
    instances[:, 4:] = 1
    expected = np.zeros((6, 8), bool)
    expected[:, 3:5] = True
    assert np.array_equal(contours(instances), expected)


def test_removed_contours_are_those_of_the_formula() -> None:
    instances = np.zeros((20, 20), int)
    instances[3:9, 3:9] = 1
    instances[12:18, 12:18] = 2
    change = instances == 1
    left = contours_after(instances, change)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    gone = binary_dilation(binary_opening(change, cross), np.ones((3, 3), bool))
    assert np.array_equal(left, contours(instances) & ~gone)
    # The other instance keeps its contour; of the removed square only corners that the opening rounds off are left.
    assert np.array_equal(left[11:, 11:], contours(instances)[11:, 11:])
    assert left[:11, :11].sum() <= 4 * 3


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_contours_at_the_edge_are_those_of_the_map_mirrored_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instances = np.roll(patches(seed), rng.integers(0, 8, 2), (0, 1))
    around = np.pad(instances, HALO, "reflect")
    removed = rng.integers(1, 12, 3)
    inner = contours_after(around, np.isin(around, removed))[HALO:-HALO, HALO:-HALO]
    assert np.array_equal(contours_after(instances, np.isin(instances, removed)), inner)


def test_contours_of_a_window_with_its_halo_are_those_of_the_whole() -> None:
    instances = patches(5)
    change = np.isin(instances, [1, 2, 3])
    whole = contours_after(instances, change)
    part = (slice(10 - HALO, 26 + HALO), slice(8 - HALO, 30 + HALO))
    inner = contours_after(instances[part], change[part])[HALO:-HALO, HALO:-HALO]
    assert np.array_equal(inner, whole[10:26, 8:30])


def test_an_instance_has_one_fate_in_all_windows() -> None:
    ids = np.arange(1, 400)
    chosen = choose_instances(ids, 7, 2, 0.3)
    assert np.array_equal(choose_instances(ids[::3], 7, 2, 0.3), np.intersect1d(ids[::3], chosen))
    assert 75 < len(chosen) < 165  # 120 expected, five standard deviations
    assert not np.array_equal(chosen, choose_instances(ids, 7, 3, 0.3))


def test_segmentation_finds_what_differs_in_colour() -> None:
    image = np.zeros((60, 60, 3), np.uint8) + np.random.default_rng(0).integers(0, 6, (60, 60, 3), dtype=np.uint8)
    image[10:30, 10:30] += 150
    image[35:55, 30:50, 0] += 200
    ids = segment(image)
    first, second = ids[20, 20], ids[45, 40]
    assert len({0, first, second}) == 3
    assert (ids[12:28, 12:28] == first).mean() > 0.95
    assert (ids[:8] == 0).mean() > 0.95
