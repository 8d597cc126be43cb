"""The remaining time that a job tells: what this run did, and nothing else, says how long the rest takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changen2.jobs.runs.progress import Reporter


def told(monkeypatch, *parts):
    """Reports of one stage's parts: each goes on after ``done_before`` units and takes ``seconds`` for each to come."""
    clock, reports = [100.0], []
    monkeypatch.setattr("changen2.jobs.runs.progress.time.monotonic", lambda: clock[0])
    reporter = Reporter(reports.append)
    for done_before, seconds, total in parts:
        reporter.step("detect", done_before, total)
        for done in range(done_before + 1, total + 1):
            clock[0] += seconds
            reporter.step("detect", done, total)
    return reports


@given(st.floats(1.1, 1000), st.floats(1.1, 1000), st.integers(2, 10), st.integers(2, 10))
def test_units_of_another_part_of_a_stage_do_not_count(slow, fast, many, few):
    with pytest.MonkeyPatch.context() as patch:
        reports = told(patch, (0, slow, many), (0, fast, few))
    first, *others = reports[many + 1 :]
    assert first.eta_s is None, "nothing of these units is done yet"
    for report in others:
        assert report.eta_s == pytest.approx(fast * (few - report.done), abs=0.1)


@given(st.integers(0, 90), st.floats(1.1, 1000), st.integers(2, 10))
def test_units_of_an_earlier_run_do_not_count(done_before, seconds, rest):
    total = done_before + rest
    with pytest.MonkeyPatch.context() as patch:
        first, *others = told(patch, (done_before, seconds, total))
    assert first.eta_s is None, "nothing was done by this run yet"
    for report in others:
        assert report.eta_s == pytest.approx(seconds * (total - report.done), abs=0.1)
    assert [report.done for report in others] == list(range(done_before + 1, total + 1))
