"""Each section made small, with a generator whose answer is known."""

import json

import numpy as np

from changen2.models.rsdit_tiny import BUILDING
from changen2.reports.sections import events
from changen2.reports.sections.consistency import consistency_section
from changen2.reports.sections.frechet import frechet_section
from changen2.reports.sections.seams import seams_section
from changen2.reports.sections.series import STEPS, plan_series
from changen2.reports.series import DrawnEvent, run_series
from changen2.reports.synthesis import make_report


def quiet(text):
    pass


def test_a_series_is_what_the_job_writes(subject, tile, tmp_path):
    created = np.zeros((256, 256), bool)
    created[100:130, 150:190] = True
    built, cleared = DrawnEvent(created, "create", BUILDING, 1), DrawnEvent(created, "remove", 0, 2)
    found = run_series(subject, tmp_path, tile, [built, cleared], sampling_steps=2)
    assert len(found.images) == len(found.labels) == 3 and len(found.changes) == 2
    assert (found.changes[0] == created).all() and (found.changes[1] == created).all()
    assert (found.labels[1][created] == BUILDING).all() and (found.labels[2] == tile.label).all()
    assert (found.images[2][:, ~created] == tile.image[:, ~created]).all()
    assert (found.images[1][:, created] != tile.image[:, created]).any()


def test_six_steps_build_first_and_clear_last(tile):
    plan = plan_series(tile, np.random.default_rng(0))
    assert {event.step for event in plan} == set(range(1, STEPS + 1))
    assert all((event.event == "remove") == (event.step == STEPS) for event in plan)


def test_examples_of_events_stay_on_their_tile(subject):
    (_, gone, _), *_ = events.removed(subject)
    assert len(gone) == 2 and all(event.mask.any() for event in gone)
    (_, shapes, options), *_ = events.drawn(subject)
    assert len(shapes) == 4 and options == {"labelled": False}


def test_events_are_shown_from_both_starts(subject, monkeypatch):
    monkeypatch.setattr(events, "KINDS", {"removed": events.removed, "edited": events.edited})
    section = events.events_section(subject, quiet)
    assert [caption for caption, _ in section.pictures] == ["removed", "edited"]
    assert {picture.shape for _, picture in section.pictures} == {section.pictures[0][1].shape}


def test_null_edits_are_measured(subject):
    figures = seams_section(subject, quiet).figures
    assert set(figures) == {"start from noise", "start from exemplar"}
    for found in figures.values():
        assert found["edits"] == 2
        # The stand-in draws flat colours: smoother than the noise it covers.
        assert found["ratio inside"]["value"] < 1


def test_created_buildings_are_scored_from_both_starts(subject):
    section = consistency_section(subject, quiet)
    figures = section.figures["embedded segmenter"]
    assert figures["start from noise"]["objects"] == figures["start from exemplar"]["objects"] >= 4
    assert {"score", "floor", "ceiling", "void"} <= set(figures["start from noise"]["nowhere"])


def test_drawn_tiles_are_kept_and_the_report_is_made(subject):
    frechet_section(subject, quiet)
    kept = sorted((subject.options.out / "drawn").rglob("*.png"))
    assert len(kept) == 4
    before = [path.stat().st_mtime_ns for path in kept]
    page = make_report(subject, ["frechet"], quiet)
    assert [path.stat().st_mtime_ns for path in kept] == before
    figures = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))["frechet"]
    assert figures["tiles"] == 2 and figures["ratio of distances, few steps over many"]["value"] > 0
