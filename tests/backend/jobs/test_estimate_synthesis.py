"""What a synthesis would take, told beforehand, against what it took."""

from unittest.mock import Mock

import numpy as np
import pyogrio
import pytest
import shapely

from changen2.errors import InputError
from changen2.jobs import estimate_synthesis
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis import rates
from changen2.protocol import EstimateSynthesisRequest, validate
from changen2.raster import reading


@pytest.fixture
def estimate(monkeypatch, flat_card, flat_generator):
    """Estimate with the flat generator; nothing was measured yet."""
    monkeypatch.setattr(rates, "_rates", {})

    def run(image, trial=False, **options):
        given = {key: str(value) if hasattr(value, "parts") else value for key, value in options.items()}
        request = validate(EstimateSynthesisRequest, {"image": str(image), "sampling_steps": 4, **given})
        load = (lambda: flat_generator) if trial else None
        return estimate_synthesis.run_with(request, flat_card, type(flat_generator), load, Reporter())

    return run


@pytest.fixture
def image(write_raster):
    values = np.random.default_rng(0).integers(60, 140, (3, 300, 700)).astype(np.uint8)
    return write_raster("image.tif", values)


@pytest.fixture
def events(tmp_path):
    """A building of 40 × 30 pixels, and far off a field of 450 × 200 that becomes water in the second step."""
    boxes = [shapely.box(500_025, 5_199_955, 500_045, 5_199_970), shapely.box(500_100, 5_199_870, 500_325, 5_199_970)]
    pyogrio.raw.write(
        tmp_path / "events.gpkg", shapely.to_wkb(np.array(boxes, dtype=object)), geometry_type="Polygon",
        crs="EPSG:32633", fields=["event", "to_class", "step"],
        field_data=[np.array(["create", "edit"], object), np.array(["building", "water"], object), np.array([1, 2])],
    )  # fmt: skip
    return tmp_path / "events.gpkg"


def test_it_tells_what_the_run_then_takes(image, events, estimate, flat, tmp_path):
    told = estimate(image, events=events)
    assert told["changed_px"] == [40 * 30, 450 * 200] and told["events"] == {"create": 1, "edit": 1}
    # Half a metre a pixel, and at the middle of the zone the grid is 0.4 per mille too short.
    assert told["changed_m2"] == pytest.approx([300, 22_500], rel=2e-3)
    assert told["seconds"] is None and not list(tmp_path.glob("out"))
    summary = flat(image, tmp_path / "out", events=events)["summary"]
    assert summary["changed_px"] == told["changed_px"] and summary["sampled_tiles"] == told["looks"]
    assert told["disk_bytes"] > sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    again = estimate(image, events=events)
    assert 0 < again.pop("seconds") < 600 and again == {key: told[key] for key in again}


def test_an_extent_takes_less(image, events, estimate):
    part = estimate(image, events=events, bounds=(500_000, 5_199_925, 500_090, 5_200_000))
    assert part["changed_px"] == [40 * 30, 0] and (part["width"], part["height"], part["tiles"]) == (180, 150, 1)
    assert part["disk_bytes"] < estimate(image, events=events)["disk_bytes"]
    assert estimate(image, events=events, patches=True)["disk_bytes"] < 3 * 300 * 700 * 8


@pytest.fixture
def village(write_raster):
    """Four houses at the western end of the image, and one in the middle."""
    labels = np.zeros((1, 300, 700), np.uint8)
    for top, left in ((20, 10), (80, 10), (140, 10), (200, 10), (100, 300)):
        labels[:, top : top + 20, left : left + 30] = 4
    return write_raster("village.tif", labels)


def test_events_beside_the_extent_do_not_count_and_are_told(image, village, estimate, flat, tmp_path):
    beside = (500_020, 5_199_850, 500_200, 5_200_000)  # begins where the western houses end
    given = {"labels": village, "simulate": "remove", "least": 4, "most": 4, "bounds": beside}
    seed = next(seed for seed in range(50) if not sum(estimate(image, **given, seed=seed)["changed_px"]))
    told = estimate(image, **given, seed=seed)
    (warning,) = told["warnings"]
    assert told["events"] == {} and "None of the 4 simulated events" in warning and "--aoi" in warning
    found = flat(image, tmp_path / "out", **given, seed=seed)
    assert found["warnings"] == [warning] and found["summary"]["changed_px"] == [0] and not found["summary"]["events"]
    inside = estimate(image, **given | {"least": 5, "most": 5})
    assert inside["events"] == {"remove": 1} and inside["changed_px"] == [600] and not inside["warnings"]


def test_within_polygons_events_happen_where_the_whole_raster_has_none(image, village, estimate, tmp_path):
    path = tmp_path / "aoi.gpkg"
    place = shapely.to_wkb(np.array([shapely.box(500_020, 5_199_850, 500_200, 5_200_000)], object))
    pyogrio.raw.write(path, place, field_data=[], fields=[], geometry_type="Polygon", crs="EPSG:32633")
    told = estimate(image, labels=village, simulate="remove", least=1, most=1, aoi=path)
    assert told["events"] == {"remove": 1} and told["changed_px"] == [600] and not told["warnings"]


def test_drawn_events_beside_the_extent_are_told(image, events, estimate):
    told = estimate(image, events=events, bounds=(500_330, 5_199_850, 500_350, 5_200_000))
    assert (
        told["warnings"] == ["None of the 2 drawn events acts in the extent asked for: nothing changes there."]
        and not told["events"]
    )


def test_a_start_from_exemplars_takes_more_memory(image, events, estimate):
    noise, exemplar = (estimate(image, events=events, init=init)["memory_bytes"] for init in ("noise", "exemplar"))
    assert exemplar > noise


def test_simulated_events_without_crs_have_no_area_in_metres(write_raster, estimate):
    labels = np.zeros((1, 200, 300), np.uint8)
    labels[:, 20:60, 30:90] = 4
    image = write_raster("image.tif", np.full((3, 200, 300), 90, np.uint8), crs=None, transform=None)
    labels = write_raster("labels.tif", labels, crs=None, transform=None)
    told = estimate(image, labels=labels, simulate="remove", steps=1)
    assert told["changed_px"] == [40 * 60] and told["changed_m2"] == [None] and told["warnings"]


def test_what_could_not_run_cannot_be_estimated(image, estimate, tmp_path):
    with pytest.raises(InputError) as caught:
        estimate(image, events=tmp_path / "none.gpkg")
    assert caught.value.code == "missing_file"


def test_a_trial_tells_the_time_before_the_first_run(image, events, estimate, flat_card):
    with_trial, without = estimate(image, trial=True, events=events), estimate(image, events=events)
    assert 0 < with_trial["seconds"] < 600 and without == with_trial
    more = estimate(image, events=events, sampling_steps=40)
    # The copies of the images cost the same.
    assert with_trial["seconds"] < more["seconds"] < 20 * with_trial["seconds"]


def test_what_takes_long_to_simulate_is_not_estimated(image, village, events, estimate, monkeypatch):
    monkeypatch.setattr(estimate_synthesis, "SIMULATED", 2 * 300 * 700)
    monkeypatch.setattr(estimate_synthesis, "let_happen", let_happen := Mock(wraps=estimate_synthesis.let_happen))
    for given in ({"labels": village}, {"simulate": "remove"}):
        with pytest.raises(InputError) as caught:
            estimate(image, **given, steps=3)
        assert caught.value.code == "too_large" and "3 steps" in str(caught.value) and not let_happen.called
    assert estimate(image, labels=village, steps=2) and estimate(image, events=events, steps=3)


def test_an_image_is_not_read_through_for_an_estimate(
    write_raster, village, events, estimate, flat, monkeypatch, tmp_path
):
    monkeypatch.setattr(reading, "stretch_of", measure := Mock(wraps=reading.stretch_of))
    values = np.random.default_rng(0).integers(0, 4096, (3, 300, 700)).astype(np.uint16)
    image = write_raster("deep.tif", values, nodata=0)
    assert estimate(image, events=events)["looks"] and estimate(image, labels=village)["looks"]
    assert not measure.called
    flat(image, tmp_path / "out", events=events)
    assert measure.call_count == 1
