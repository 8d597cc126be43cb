import numpy as np
import pytest

from changen2.reports.consistency import ObjectScore, object_iou, own_region, recovered, summarize

ROWS, COLUMNS = np.mgrid[:100, :100]
DISC = (ROWS - 50) ** 2 + (COLUMNS - 50) ** 2 <= 12**2
NOTHING = np.zeros_like(DISC)


def scores(*values, tile=None):
    return [ObjectScore(i if tile is None else tile, "place", *each) for i, each in enumerate(values)]


def test_a_disc_grows_by_its_own_radius():
    assert own_region(DISC).sum() == pytest.approx(4 * DISC.sum(), rel=0.05)


def test_iou_is_one_where_all_is_found_and_nothing_else():
    assert object_iou(DISC, DISC, NOTHING) == 1
    assert object_iou(NOTHING, DISC, NOTHING) == 0


def test_what_is_found_beside_the_footprint_counts_only_near_it():
    all_over = np.ones_like(DISC)
    assert object_iou(all_over, DISC, NOTHING) == pytest.approx(DISC.sum() / own_region(DISC).sum())
    far = DISC | (ROWS < 10)
    assert object_iou(far, DISC, NOTHING) == 1


def test_other_buildings_are_neither_right_nor_wrong():
    neighbour = (ROWS > 64) & (ROWS < 70) & (abs(COLUMNS - 50) < 5)
    assert object_iou(DISC | neighbour, DISC, NOTHING) < 1
    assert object_iou(DISC | neighbour, DISC, neighbour) == 1
    assert object_iou(DISC, DISC, neighbour | DISC) == 1


def test_recovered_is_the_share_of_the_way_from_floor_to_ceiling():
    assert recovered(np.array([[0.5, 0.1, 0.9], [0.7, 0.1, 0.9]])) == pytest.approx(0.5 / 0.8)
    assert np.isnan(recovered(np.array([[0.5, 0.6, 0.4]])))


def test_the_summary_counts_tiles_not_objects():
    summary = summarize([*scores((0.6, 0, 0.8), (0.6, 0, 0.8), tile=0), *scores((0.2, 0, 0.8), tile=1)], 200)
    assert (summary["objects"], summary["tiles"], summary["void"]) == (3, 2, False)
    assert summary["label_consistency"] == pytest.approx(1.4 / 2.4, abs=1e-3)
    assert (summary["label_consistency_low"], summary["label_consistency_high"]) == (0.25, 0.75)


def test_a_segmenter_that_is_lost_on_real_buildings_says_nothing():
    summary = summarize(scores((0.4, 0, 0.45), (0.4, 0, 0.45)))
    assert summary["void"] and summary["label_consistency"] is None
    assert summary["ceiling"] == 0.45
