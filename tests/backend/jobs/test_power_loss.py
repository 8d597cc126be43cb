"""After a loss of power a run goes on to the same result: the journal names no block whose files the disk lacks."""

import os

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import stand_in
from PIL import Image

from changen2.errors import Cancelled
from changen2.jobs import generate
from changen2.jobs.runs.journal import NAME, Journal
from changen2.jobs.runs.progress import Reporter
from changen2.protocol import GenerateRequest, validate
from changen2.raster.output_folder import WORK_FOLDER


@pytest.fixture
def lost(tmp_path, monkeypatch):
    """Run ``lost(job, out, blocks)`` until so many blocks are noted; then the power goes.

    The disk has the whole journal, which it may write at any time; of all else what it was told to write, or zeros.
    """

    def run(job, out, blocks):
        on_disk, add = {}, Journal.add

        def fsync(handle):
            told = os.fstat(handle)
            for path in (out / WORK_FOLDER).rglob("*"):
                if path.is_file() and os.path.samestat(path.stat(), told):
                    on_disk[path] = path.read_bytes()

        def noted(self, *args, **block):
            add(self, *args, **block)
            if len(self.blocks) == blocks:
                raise Cancelled()

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr(Journal, "add", noted)
            with pytest.raises(Cancelled):
                job(out)
        for path in (out / WORK_FOLDER).rglob("*"):
            if path.is_file() and path.name != NAME:
                path.write_bytes(on_disk.get(path, bytes(path.stat().st_size)))

    return run


def maps(folder):
    """File name → pixels of all rasters and pictures of a result."""
    found = {}
    for path in sorted([*folder.rglob("*.tif"), *folder.rglob("*.png")]):
        with rasterio.open(path) as dataset:
            found[path.name, path.parent.name if path.suffix == ".png" else ""] = dataset.read()
    return found


def check(lost, job, tmp_path, blocks):
    job(tmp_path / "whole")
    lost(job, tmp_path / "run", blocks)
    job(tmp_path / "run", resume=True)
    whole, again = maps(tmp_path / "whole"), maps(tmp_path / "run")
    assert whole and whole.keys() == again.keys()
    for name, values in whole.items():
        assert np.array_equal(values, again[name]), name


@pytest.mark.parametrize("options", [{}, {"gsd": 0.4}])
@pytest.mark.parametrize("blocks", [1, 6])
def test_a_detection(pair, tmp_path, difference, monkeypatch, lost, options, blocks):
    monkeypatch.setattr("changen2.raster.tiles.BLOCK_PIXELS", 128)
    check(lost, lambda out, **more: difference(*pair, out, **options, **more), tmp_path, blocks)


@pytest.mark.parametrize("patches", [False, True])
def test_a_synthesis(pair, tmp_path, flat, lost, patches):
    events = tmp_path / "events.gpkg"
    left, top = np.array([500_010, 500_080, 500_120]), np.array([5_199_990, 5_199_950, 5_199_900])
    fields = {"event": ["create"] * 3, "to_class": ["building"] * 3, "step": [1, 2, 3]}
    pyogrio.raw.write(
        events, shapely.to_wkb(shapely.box(left, top - 10, left + 10, top)),
        [np.array(values, dtype=object if name != "step" else int) for name, values in fields.items()], list(fields),
        layer="change_events", geometry_type="Polygon", crs="EPSG:32633",
    )  # fmt: skip
    options = {"events": events, "patches": patches, "sampling_steps": 2}
    check(lost, lambda out, **more: flat(pair[0], out, **options, **more), tmp_path, 2)


def test_a_data_set(scene, tmp_path, flat_card, lost):
    (tmp_path / "images").mkdir()
    Image.fromarray(scene[1].transpose(1, 2, 0)).save(tmp_path / "images" / "town.png")

    def job(out, **more):
        given = {"image_dir": str(tmp_path / "images"), "out_dir": str(out), "pairs": 4, "size": 64, **more}
        request = validate(GenerateRequest, {"sampling_steps": 2, **given})
        generate.run_with(request, flat_card, stand_in.load, Reporter())

    check(lost, job, tmp_path, 2)
