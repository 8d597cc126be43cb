"""Vector files whose paths pyogrio would take for something else."""

import os

import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from changen2.jobs.runs.manifest import describe_layer
from changen2.jobs.synthesis.events import EventRow, write_events
from changen2.raster.grid import Grid
from changen2.raster.layers import has_layers, read_layer
from changen2.raster.vector_files import for_pyogrio
from changen2.raster.vectors import ChangePolygon, write_polygons

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names, and there drives are not misread")

GRID = Grid(CRS.from_epsg(32633), Affine(1, 0, 500_000, 0, -1, 5_000_000), 10, 10)
SQUARE = shapely.box(500_000, 4_999_995, 500_005, 5_000_000)
FOLDERS = ["so!", "was!ist", "!", "a tab\there", "12:30!", "plain"]
FILES = ["roads!.gpkg", "!.gpkg", "p;q.gpkg", "tab\t.gpkg", "what?.gpkg", "roads!.shp", "roads!.shp.zip"]


@pytest.fixture(params=FOLDERS)
def folder(request, tmp_path, monkeypatch):
    """A folder of such a name below the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / request.param / "out"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def write(tmp_path):
    """Writes a layer under a plain name, and moves it and what lies beside it."""

    def _write(path):
        plain = tmp_path / f"plain.{path.name.partition('.')[2]}"
        wkb = shapely.to_wkb(np.array([SQUARE], object))
        about = {"field_data": [np.array([7])], "fields": ["number"], "geometry_type": "Polygon", "crs": "EPSG:32633"}
        pyogrio.raw.write(plain, wkb, layer="roads", **about)
        for part in tmp_path.glob("plain.*"):
            part.rename(path.with_name(part.name.replace("plain", path.name.partition(".")[0])))
        return path

    return _write


def test_what_is_written_is_where_it_should_be(folder, tmp_path):
    rest = str(folder).rpartition("!")[2].lstrip("/")
    decoy = tmp_path / rest / "change.gpkg"
    decoy.parent.mkdir(parents=True, exist_ok=True)
    decoy.write_bytes(b"somebody else's")
    write_polygons(folder / "change.gpkg", [ChangePolygon(SQUARE, 25.0, 25, 0.5, None, "house")], GRID)
    write_events(folder / "change_events.gpkg", [EventRow(SQUARE, "create", "house", 1, None, 25, "drawn")], GRID)
    assert decoy.read_bytes() == b"somebody else's"
    assert sorted(path.name for path in folder.iterdir()) == ["change.gpkg", "change_events.gpkg"]
    for name in ("change", "change_events"):
        layer = read_layer(folder / f"{name}.gpkg")
        assert layer.geometries[0].equals(SQUARE) and list(layer.fields["to_class"]) == ["house"]
        assert describe_layer(folder / f"{name}.gpkg")["features"] == 1


@pytest.mark.parametrize("name", FILES)
def test_any_name_is_read(folder, write, name):
    path = write(folder / name)
    assert has_layers(str(path))
    layer = read_layer(path)
    assert layer.geometries[0].equals(SQUARE) and list(layer.fields["number"]) == [7]
    assert describe_layer(path)["features"] == 1
    if path.suffix == ".gpkg":
        assert read_layer(f"{path}|layername=roads").geometries[0].equals(SQUARE)


@pytest.mark.parametrize("source", ["/vsizip/a!b.zip/roads.shp", "https://example.org/a!b.gpkg", "zip://a.zip!b.shp"])
def test_what_gdal_alone_can_tell_stays(source):
    with for_pyogrio(source) as name:
        assert name == source
