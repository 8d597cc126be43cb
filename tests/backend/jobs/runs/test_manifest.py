"""A manifest and a journal say what made a result, but keep no password, key or signature."""

import json
import stat
from datetime import datetime

import numpy as np
import pyogrio
import pytest
import shapely

from changen2.errors import InputError
from changen2.jobs.runs.journal import REQUEST, Journal, note_request
from changen2.jobs.runs.manifest import describe_input, describe_layer, write_manifest
from changen2.protocol import SynthesizeRequest
from changen2.redaction import redacted

SOURCES = [
    "/vsicurl/https://ada:hush@store.example/a.tif?sp=r&sig=hush%3D",
    "PG:host=db dbname='gis' user='ada' password='hush hush' table='r'",
]


@pytest.mark.parametrize("source", SOURCES)
def test_no_text_of_a_manifest_holds_credentials(tmp_path, source):
    request = SynthesizeRequest(image=source, labels=source, instances=source, aoi=source, out_dir="out")
    content = {
        "parameters": request.model_dump(),
        "files": {source: [1, 2.5]},
        "warnings": (f"{source} was warped.",),
        "source": [{"image": tmp_path / "ä.tif", "gsd_m": None, "is_warped": True}],
    }
    write_manifest(tmp_path / "manifest.json", content)
    text = (tmp_path / "manifest.json").read_text(encoding="utf8")
    assert "hush" not in text
    read = json.loads(text)
    assert read["parameters"] == json.loads(json.dumps(redacted(request.model_dump())))
    assert read["source"] == [{"image": str(tmp_path / "ä.tif"), "gsd_m": None, "is_warped": True}]


def test_a_source_that_was_signed_anew_is_the_same_job(tmp_path):
    signed = "/vsicurl/https://store.example/{}.tif?sig={}"
    Journal(tmp_path, {"parameters": {"labels": signed.format("a", "hush")}}).add(i=0, j=0)
    assert "hush" not in (tmp_path / "journal.jsonl").read_text(encoding="utf8")
    assert Journal(tmp_path, {"parameters": {"labels": signed.format("a", "other")}}).done == {(0, 0)}
    with pytest.raises(InputError, match="differs"):
        Journal(tmp_path, {"parameters": {"labels": signed.format("b", "hush")}})


def test_the_request_for_the_rest_of_a_run_is_complete_and_for_the_user_alone(tmp_path):
    request = SynthesizeRequest(image=SOURCES[0], out_dir="out")
    note_request(tmp_path, "synthesize", request)
    kept = json.loads((tmp_path / REQUEST).read_text(encoding="utf8"))
    assert SynthesizeRequest(**kept["params"]) == request.model_copy(update={"resume": True})
    assert stat.S_IMODE((tmp_path / REQUEST).stat().st_mode) & 0o077 == 0


def test_a_layer_is_told_as_a_raster_is(tmp_path, write_raster, zipped):
    layer, raster = tmp_path / "area.gpkg", write_raster("image.tif", np.zeros((1, 20, 30), np.uint8))
    square = shapely.to_wkb(np.array([shapely.box(0, 0, 1, 1)] * 3, dtype=object))
    pyogrio.raw.write(layer, square, field_data=[], fields=[], geometry_type="Polygon", crs="EPSG:32633")
    told, of_raster = describe_layer(layer), describe_input(raster)
    assert (told["crs"], told["features"]) == (of_raster["crs"], 3)
    for path, about in ((layer, told), (raster, of_raster)):
        assert (about["path"], about["bytes"]) == (str(path), path.stat().st_size)
        assert datetime.fromisoformat(about["modified"]).timestamp() == pytest.approx(path.stat().st_mtime)
    packed = zipped(layer)
    inside = describe_layer(packed)
    assert (inside["path"], inside["crs"], inside["features"]) == (packed, told["crs"], 3)
    assert inside["bytes"] != told["bytes"]  # the archive's
    point = shapely.to_wkb(np.array([shapely.Point(0, 0)], dtype=object))
    pyogrio.raw.write(
        layer, point, field_data=[], fields=[], geometry_type="Point", crs="EPSG:32633", layer="spots", append=True
    )
    assert (describe_layer(layer)["features"], describe_layer(layer, "point")["features"]) == (3, 1)
    layer.unlink()
    assert describe_layer(layer) == {"path": str(layer)}


@pytest.mark.filterwarnings("ignore:HTTP response code")
def test_the_source_of_a_layer_holds_no_credentials():
    assert "hush" not in str(describe_layer("/vsicurl/http://ada:hush@127.0.0.1:9/area.gpkg?token=hush"))
