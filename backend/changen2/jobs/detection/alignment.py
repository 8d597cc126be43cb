"""Aligning the second date with the first: one shift of the whole raster is measured, undone and told."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from changen2.jobs.detection.plan import Plan
from changen2.jobs.runs.progress import Reporter
from changen2.raster.grid import Grid
from changen2.raster.reading import AlignedRaster
from changen2.raster.registration import SAMPLE, SMALLEST, Shift, estimate_shift

logger = logging.getLogger(__name__)


def open_after(
    plan: Plan, before: AlignedRaster, stack: ExitStack, reporter: Reporter
) -> tuple[AlignedRaster, Shift | None]:
    """Open the date after, aligned where that is asked for.

    Args:
        plan: of the detection.
        before: the other date.
        stack: closes what is opened.
        reporter: is told of the measuring; a shift that is undone is logged.

    Returns:
        The raster, and the shift as measured; None where nothing was.
    """
    request = plan.request
    bands = request.bands_after if request.bands_after is not None else request.bands
    after = AlignedRaster(request.after, plan.work_grid, bands)
    if not request.coregister:
        return stack.enter_context(after), None
    with after:
        reporter.step("coregister", 0, 1)
        shift = estimate_shift(before, after, plan.work_grid)
        reporter.step("coregister", 1, 1)
        stretch = after.stretch
    found = undone(plan, shift)
    if found is not None:
        logger.info(in_words(found))
    return stack.enter_context(AlignedRaster(request.after, grid_of_after(plan, shift), bands, stretch)), shift


def grid_of_after(plan: Plan, shift: Shift | None) -> Grid:
    """The grid that the date after is read on."""
    return plan.work_grid.shifted(shift.columns, shift.rows) if shift and shift.samples else plan.work_grid


def undone(plan: Plan, shift: Shift | None) -> dict[str, float | None] | None:
    """What was undone, for a run's summary; None where nothing was.

    Returns:
        ``columns`` and ``rows`` in pixels of ``before``, positive where ``after`` lay too far right, too far down;
        ``metres``, the length, None without CRS.
    """
    if shift is None or shift.samples == 0:
        return None
    return {"columns": shift.columns / plan.factor, "rows": shift.rows / plan.factor, "metres": shift.metres}


def doubt(shift: Shift | None) -> str | None:
    """What a user should know of a measurement that moved nothing; None where one did, or none was asked for."""
    if shift is None or shift.samples:
        return None
    if shift.looked_at:
        return "No reliable shift between the dates was found; they were compared as they are."
    return (
        f"No shift between the dates was measured: no place was found where both are valid on {SAMPLE} × {SAMPLE} "
        f"pixels (on all they share where that is less, at least {SMALLEST} × {SMALLEST}). They were compared as they "
        "are."
    )


def in_words(undone: dict[str, float | None]) -> str:
    """Say it: "The second image lay 6.0 columns and −3.0 rows off, 1.14 m; undone."."""
    columns, rows = (f"{round(undone[name] or 0, 1) + 0.0:.1f}".replace("-", "−") for name in ("columns", "rows"))
    metres = "" if undone["metres"] is None else f", {undone['metres']:.2f} m"
    return f"The second image lay {columns} columns and {rows} rows off{metres}; undone."
