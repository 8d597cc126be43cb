"""What is drawn of an extent is what is drawn of the whole there: the same regions, in the same change."""

from contextlib import ExitStack

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from shapely.geometry import box

from changen2.gpcm.labels import Box
from changen2.gpcm.synthesis import HALO
from changen2.jobs.runs.progress import Reporter
from changen2.jobs.synthesis.image_drawing import plan_regions
from changen2.jobs.synthesis.overlays import SparseRaster
from changen2.jobs.synthesis.plan import let_happen, open_inputs
from changen2.models.registry import card_of
from changen2.protocol import SynthesizeRequest

TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000)
ROWS, COLUMNS = range(8, 140, 36), range(8, 4080, 36)


def at(left, top, right, bottom):
    """A rectangle given in pixels, in the raster's coordinates."""
    (x0, y0), (x1, y1) = TRANSFORM @ (left, top), TRANSFORM @ (right, bottom)
    return box(x0, y1, x1, y0)


@pytest.fixture
def crowd(write_raster):
    """Squares close to each other over eight blocks in a row: change among them touches from one end to the other."""
    values = np.random.default_rng(5).integers(95, 105, (3, 160, 4096)).astype(np.uint8)
    for top in ROWS:
        for left in COLUMNS:
            values[:, top : top + 20, left : left + 20] += 80
    return str(write_raster("crowd.tif", values))


@pytest.fixture
def polygons(tmp_path):
    """The squares of the crowd, every ninth of them as long as three; some cross the edges of blocks."""
    shapes = [
        at(left, top, left + (92 if number % 9 == 0 else 20), top + 20)
        for top in ROWS
        for number, left in enumerate(COLUMNS)
        if number % 9 not in (1, 2)
    ]
    pyogrio.raw.write(
        tmp_path / "squares.gpkg", geometry=shapely.to_wkb(np.array(shapes)), geometry_type="Polygon",
        crs="EPSG:32633", driver="GPKG", fields=[], field_data=[],
    )  # fmt: skip
    return str(tmp_path / "squares.gpkg")


def planned(work, stack, window, stride, **given):
    """The regions of each step that a window depends on, and its change around each of them."""
    work.mkdir()
    request = SynthesizeRequest(out_dir="", seed=1, removal_probability=0.5, **given)
    inputs = open_inputs(request, card_of("tiny", "synthesize"), stack)
    series = let_happen(request, inputs, work, stack, Reporter())
    found = plan_regions(series.steps, inputs.image.grid, window or inputs.area.window, stride)
    told = []
    for step, regions in zip(series.steps, found, strict=True):
        changed = SparseRaster(step.change, inputs.image.grid, 0)
        stack.callback(changed.close)
        for region in regions:
            b = region.box
            looked_at = Box(*(stride * side for side in (b.top - HALO, b.left - HALO, b.bottom + HALO, b.right + HALO)))
            seen = changed.read(looked_at.clip(changed.shape))
            told.append((step.number, region.cells.tolist(), b, region.is_joint, region.drawn.tolist(), seen.tolist()))
    return told, inputs.area.window


@pytest.mark.parametrize("instances", ["auto", "polygons"])
@pytest.mark.parametrize(("left", "right", "steps", "stride"), [(0, 300, 1, 4), (3900, 4090, 2, 4), (2040, 2060, 1, 8)])
def test_without_labels_too(request, crowd, tmp_path, instances, left, right, steps, stride):
    layer = instances if instances == "auto" else request.getfixturevalue(instances)
    given = {"image": crowd, "instances": layer, "steps": steps}
    (x0, y0), (x1, y1) = TRANSFORM @ (left, 150), TRANSFORM @ (right, 20)
    with ExitStack() as stack:
        part, window = planned(tmp_path / "part", stack, None, stride, bounds=(x0, y0, x1, y1), **given)
        whole, _ = planned(tmp_path / "whole", stack, window, stride, **given)
    assert part == whole and len(part) >= steps
