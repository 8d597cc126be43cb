"""Any layer becomes a file: what passes as it is, what is written, what is refused, and what is never stored."""

import http.server
import json
import math
import threading
import zipfile

import numpy as np
import pytest
from osgeo import gdal, ogr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingFeedback,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerSelectedFeatureSource,
)

from changen2_qgis.errors import Cancelled, InputError
from changen2_qgis.inputs import PixelFrame, as_seen, bounds, direct_path, polygons_path, redact
from changen2_qgis.raster_pair import RasterPair
from changen2_qgis.rendering import RenderGrid, blank_blocks, choose_grid, ground_resolution, render, render_grid

WIDTH, HEIGHT = 40, 30
UTM = QgsCoordinateReferenceSystem("EPSG:32633")


@pytest.fixture
def pixels():
    return np.random.default_rng(7).integers(1, 255, (3, HEIGHT, WIDTH), dtype=np.uint8)


@pytest.fixture
def before(tmp_path, write_raster, pixels):
    return QgsRasterLayer(write_raster(tmp_path / "before.tif", pixels), "before")


@pytest.fixture
def without_crs(tmp_path, write_raster, pixels):
    return QgsRasterLayer(write_raster(tmp_path / "plain.tif", pixels, crs=None), "plain")


def virtual_raster(layer):
    """A raster that exists only as a formula in QGIS."""
    extent, crs = layer.extent(), layer.crs().authid()
    uri = (
        f"?crs={crs}&extent={extent.xMinimum()},{extent.yMinimum()},{extent.xMaximum()},{extent.yMaximum()}"
        f'&width={layer.width()}&height={layer.height()}&formula="r@1" * 2&r:uri={layer.source()}&r:provider=gdal'
    )
    return QgsRasterLayer(uri, "virtual", "virtualraster")


# Rasters that pass as they are


def test_a_file_passes_as_its_path(before, tmp_path):
    assert direct_path(before) == str(tmp_path / "before.tif")


def test_a_file_in_a_zip_passes(before, tmp_path):
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(before.source(), "before.tif")
    source = f"/vsizip/{tmp_path}/scenes.zip/before.tif"
    assert direct_path(QgsRasterLayer(source, "zipped")) == source


def test_a_subdataset_passes(before, tmp_path):
    path = str(tmp_path / "scenes.gpkg")
    gdal.Translate(path, before.source(), format="GPKG", creationOptions=["RASTER_TABLE=one"])
    options = ["RASTER_TABLE=two", "APPEND_SUBDATASET=YES"]
    gdal.Translate(path, before.source(), format="GPKG", creationOptions=options)
    layer = QgsRasterLayer(f"GPKG:{path}:two", "two")
    assert layer.isValid() and direct_path(layer) == f"GPKG:{path}:two"


def test_a_format_that_only_qgis_opens_does_not_pass(before, tmp_path, monkeypatch):
    monkeypatch.setattr("changen2_qgis.inputs.BACKEND_DRIVERS", frozenset({"PNG"}))
    assert direct_path(before) is None


def test_a_broken_layer_is_refused_without_its_password():
    layer = QgsRasterLayer("/vsicurl/https://ada:secret@127.0.0.1:9/x.tif", "broken")
    with pytest.raises(InputError, match="broken") as caught:
        direct_path(layer)
    assert "secret" not in str(caught.value)


def test_a_crs_given_in_qgis_reaches_the_backend(without_crs, tmp_path):
    without_crs.setCrs(UTM)
    path = as_seen(direct_path(without_crs), without_crs, tmp_path / "run", "before")
    assert path.endswith("before.vrt")
    assert QgsRasterLayer(path, "copy").crs() == UTM


def test_a_picture_that_is_given_a_crs_has_a_geotransform_where_qgis_draws_it(without_crs, tmp_path):
    without_crs.setCrs(UTM)
    path = as_seen(direct_path(without_crs), without_crs, tmp_path / "run", "before")
    assert gdal.Open(path).GetGeoTransform(can_return_null=True) == (0, 1, 0, 0, 0, -1)


def test_a_crs_that_is_the_files_own_needs_no_copy(before, tmp_path):
    assert as_seen(before.source(), before, tmp_path / "run", "before") == before.source()
    assert not (tmp_path / "run").exists()


# Rasters that are written


def test_a_virtual_raster_is_written_with_its_own_pixels_and_values(before, pixels, tmp_path):
    layer = virtual_raster(before)
    assert layer.isValid() and direct_path(layer) is None
    pair = RasterPair(layer, before)
    files = pair.files(QgsRectangle(), tmp_path / "in", no_resolution, 100, QgsProcessingFeedback())
    assert files["after"] == before.source()
    written = gdal.Open(files["before"])
    assert written.GetGeoTransform() == gdal.Open(before.source()).GetGeoTransform()
    np.testing.assert_array_equal(written.ReadAsArray(), pixels[0] * 2.0)


RPC = {
    **{f"{axis}_NUM_COEFF": f"0 {place} " + "0 " * 17 for axis, place in (("LINE", "0 -1"), ("SAMP", "1 0"))},
    **{f"{axis}_DEN_COEFF": "1 " + "0 " * 19 for axis in ("LINE", "SAMP")},
    **{"LINE_OFF": "15", "LINE_SCALE": "15", "SAMP_OFF": "20", "SAMP_SCALE": "20"},
    **{"LAT_OFF": "50", "LAT_SCALE": "0.0015", "LONG_OFF": "15", "LONG_SCALE": "0.002"},
    **{"HEIGHT_OFF": "0", "HEIGHT_SCALE": "100"},
}
"""Pixels of 0.0001 degrees about 15° east, 50° north."""


def turned(column, row, angle=12.0):
    """Degrees of a pixel of a scene that is flown aslant."""
    x, y, angle = column * 1e-4, row * -1e-4, math.radians(angle)
    return 15 + x * math.cos(angle) - y * math.sin(angle), 50 + x * math.sin(angle) + y * math.cos(angle)


@pytest.fixture(params=["points", "rpc"])
def scene(request, without_crs):
    """A layer of a scene that only ground control points, or only RPCs, place."""
    dataset = gdal.Open(without_crs.source(), gdal.GA_Update)
    if request.param == "rpc":
        dataset.SetMetadata(RPC, "RPC")
    else:
        corners = [(column, row) for column in (0, WIDTH) for row in (0, HEIGHT)]
        points = [gdal.GCP(*turned(*corner), 0, *corner) for corner in corners]
        dataset.SetGCPs(points, QgsCoordinateReferenceSystem("EPSG:4326").toWkt())
    dataset = None
    return QgsRasterLayer(without_crs.source(), "scene")


def test_a_scene_without_grid_is_written_as_qgis_warps_it(scene, before, tmp_path):
    assert scene.crs().authid() == "EPSG:4326" and direct_path(scene) is None
    pair = RasterPair(scene, scene)
    files = pair.files(QgsRectangle(), tmp_path / "in", no_resolution, 100, QgsProcessingFeedback())
    assert files["before"] == str(tmp_path / "in" / "before.tif")
    written = QgsRasterLayer(files["before"], "written")
    assert written.crs() == scene.crs() and written.extent() == scene.extent()
    shown = scene.dataProvider().block(1, scene.extent(), scene.width(), scene.height())
    dataset = gdal.Open(files["before"])
    values, seen = dataset.ReadAsArray()[0], dataset.GetRasterBand(1).GetMaskBand().ReadAsArray() > 0
    assert bytes(shown.data()) == values.tobytes()
    # What lies beyond the edge of a scene that is flown aslant is black in QGIS, and no ground to look at.
    np.testing.assert_array_equal(seen, values > 0)
    assert not list((tmp_path / "in").glob("*.msk"))


def test_a_window_cuts_whole_pixels_out_of_a_virtual_raster(before):
    window = QgsRectangle(500003.2, 4999990.1, 500007.4, 4999994.9)
    grid = choose_grid(virtual_raster(before), window, no_resolution)
    assert grid.extent == QgsRectangle(500003.0, 4999990.0, 500007.5, 4999995.0)
    assert (grid.width, grid.height) == (9, 10)


def test_what_has_no_crs_is_written_whole_for_its_pixels_to_be_counted(without_crs, pixels, tmp_path):
    """Such as a scanned photograph whose ground control points are in a system that nobody names."""
    corners = [(column, row) for column in (0, WIDTH) for row in (0, HEIGHT)]
    dataset = gdal.Open(without_crs.source(), gdal.GA_Update)
    dataset.SetGCPs([gdal.GCP(100 + 2 * column, 200 - 2 * row, 0, column, row) for column, row in corners], "")
    dataset = None
    layer = QgsRasterLayer(without_crs.source(), "photograph")
    assert not layer.crs().isValid() and direct_path(layer) is None
    window = QgsRectangle(120, 150, 140, 190)
    files = RasterPair(layer, layer).files(window, tmp_path / "in", no_resolution, 100, QgsProcessingFeedback())
    for path in files.values():
        np.testing.assert_array_equal(gdal.Open(path).ReadAsArray(), pixels)
    assert bounds(window, layer) == pytest.approx([10, 25, 20, 5])


def no_resolution():
    raise AssertionError("a layer with pixels of its own needs no other resolution")


@pytest.fixture
def tile_server():
    """Serves XYZ tiles on this machine: a picture west of Greenwich, nothing east of it."""
    memory = gdal.GetDriverByName("MEM").Create("", 256, 256, 4)
    noise = np.random.default_rng(1).integers(0, 255, (256, 256), dtype=np.uint8)
    for band in (1, 2, 3):
        memory.GetRasterBand(band).WriteArray(noise)
    memory.GetRasterBand(4).Fill(255)
    gdal.GetDriverByName("PNG").CreateCopy("/vsimem/tile.png", memory)
    handle = gdal.VSIFOpenL("/vsimem/tile.png", "rb")
    tile = bytes(gdal.VSIFReadL(1, 10_000_000, handle))
    gdal.VSIFCloseL(handle)

    class Tiles(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            zoom, column = (int(part) for part in self.path.split("?")[0].split("/")[1:3])
            self.send_response(200 if column < 2**zoom / 2 else 404)
            self.end_headers()
            if column < 2**zoom / 2:
                self.wfile.write(tile)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tiles)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    yield f"type=xyz&zmin=0&zmax=16&url={address}/{{z}}/{{x}}/{{y}}.png?key%3Dhush"
    server.shutdown()


def test_a_web_map_is_rendered_at_the_resolution_asked_for(tile_server, tmp_path):
    layer = QgsRasterLayer(tile_server, "web", "wms")
    assert direct_path(layer) is None
    window = QgsRectangle(-1000, 6_700_000, -400, 6_700_300)
    grid = choose_grid(layer, window, lambda: 5.0)
    assert render(layer, grid, tmp_path / "web.tif", 100, QgsProcessingFeedback()) == []
    written = QgsRasterLayer(str(tmp_path / "web.tif"), "written")
    assert written.crs() == layer.crs() and written.extent() == window
    metres = ground_resolution(written.extent(), written.crs(), written.width(), written.height())
    assert metres == pytest.approx(5.0, rel=0.02)  # 8 Web Mercator metres at 51° north
    assert gdal.Open(written.source()).ReadAsArray()[0].std() > 10


def test_a_web_map_with_nothing_there_is_refused(tile_server, tmp_path):
    layer = QgsRasterLayer(tile_server, "web", "wms")
    grid = render_grid(QgsRectangle(400, 6_700_000, 1000, 6_700_300), layer.crs(), 5.0)
    with pytest.raises(InputError, match="empty picture") as caught:
        render(layer, grid, tmp_path / "web.tif", 100, QgsProcessingFeedback())
    assert "hush" not in str(caught.value)
    assert not (tmp_path / "web.tif").exists()


def test_a_web_map_half_there_is_a_warning(tile_server, tmp_path):
    layer = QgsRasterLayer(tile_server, "web", "wms")
    grid = render_grid(QgsRectangle(-4000, 6_700_000, 4000, 6_702_000), layer.crs(), 5.0)
    (warning,) = render(layer, grid, tmp_path / "web.tif", 100, QgsProcessingFeedback())
    assert "is empty" in warning


@pytest.fixture
def file_and_web_map(tile_server, tmp_path, write_raster, pixels):
    path = write_raster(tmp_path / "b.tif", pixels, crs=3857, origin=(-2000.0, 6_700_000.0), pixel_size=8.0)
    return RasterPair(QgsRasterLayer(path, "file"), QgsRasterLayer(tile_server, "web", "wms"))


@pytest.mark.parametrize("times", [None, 1, 60])
def test_a_web_map_takes_place_and_resolution_from_the_image_before(file_and_web_map, tmp_path, times):
    """However much is asked for: beyond it nothing is compared."""
    pair, window = file_and_web_map, QgsRectangle()
    if times is not None:
        window = QgsRectangle(pair.before.extent())
        window.scale(times)
    files = pair.files(window, tmp_path / "in", pair.ground_resolution, 1, QgsProcessingFeedback())
    written = gdal.Open(files["after"])
    assert (written.RasterXSize, written.RasterYSize) == (WIDTH, HEIGHT)
    assert written.GetGeoTransform()[0] == -2000.0


def test_where_the_image_before_is_not_no_web_map_is_rendered(file_and_web_map, tmp_path):
    pair = file_and_web_map
    with pytest.raises(InputError, match="outside the layer “file”") as caught:
        pair.stand_ins(QgsRectangle(-9000, 6_700_000, -8000, 6_701_000), tmp_path, pair.ground_resolution, 100)
    assert caught.value.code == "no_overlap"


@pytest.mark.parametrize("kind", ["web", "formula"])
def test_an_estimate_looks_at_an_empty_raster_like_the_one_that_a_run_writes(tile_server, tmp_path, before, kind):
    layer = QgsRasterLayer(tile_server, "web", "wms") if kind == "web" else virtual_raster(before)
    extent = QgsRectangle(-2000, 6_700_000, -1000, 6_700_600) if kind == "web" else before.extent()
    pair = RasterPair(layer, layer)
    written = pair.files(extent, tmp_path / "run", lambda: 5.0, 100, QgsProcessingFeedback())
    looked_at, notes = pair.stand_ins(extent, tmp_path / "estimate", lambda: 5.0, 100)
    first, second = gdal.Open(written["before"]), gdal.Open(looked_at["before"])
    for told in ("RasterXSize", "RasterYSize", "RasterCount"):
        assert getattr(first, told) == getattr(second, told)
    assert first.GetRasterBand(1).DataType == second.GetRasterBand(1).DataType
    assert second.GetGeoTransform() == pytest.approx(first.GetGeoTransform())
    assert QgsRasterLayer(looked_at["before"], "looked at").crs() == layer.crs()
    assert len(notes) == 2 and f"“{layer.name()}” is written to a file of {first.RasterXSize} ×" in notes[0]
    with pytest.raises(InputError, match="at most"):
        pair.stand_ins(extent, tmp_path / "estimate", lambda: 5.0, 1e-6)


def test_a_web_map_cannot_be_brought_to_an_image_without_crs(tile_server, without_crs, tmp_path):
    pair = RasterPair(without_crs, QgsRasterLayer(tile_server, "web", "wms"))
    with pytest.raises(InputError, match="without CRS"):
        pair.files(QgsRectangle(), tmp_path, lambda: 1.0, 100, QgsProcessingFeedback())


def test_two_web_maps_need_an_extent(tile_server, tmp_path):
    web = [QgsRasterLayer(tile_server, name, "wms") for name in ("old", "new")]
    with pytest.raises(InputError, match="Give an extent"):
        RasterPair(*web).files(QgsRectangle(), tmp_path, lambda: 1.0, 100, QgsProcessingFeedback())


def test_too_many_pixels_are_refused_before_anything_is_fetched(before, tmp_path):
    grid = RenderGrid(before.extent(), 20_000, 10_000)
    with pytest.raises(InputError, match=r"20000 × 10000 pixels \(200 million\)"):
        render(before, grid, tmp_path / "out.tif", 100, QgsProcessingFeedback())


def test_a_cancelled_rendering_leaves_no_file(before, tmp_path):
    feedback = QgsProcessingFeedback()
    feedback.cancel()
    with pytest.raises(Cancelled):
        render(before, RenderGrid(before.extent(), WIDTH, HEIGHT), tmp_path / "out.tif", 100, feedback)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(("nodata", "counts"), [(None, (0, 3, 4)), (0, (2, 1, 4))])
def test_blank_blocks_are_counted(tmp_path, write_raster, nodata, counts):
    picture = np.zeros((1, 512, 512), np.uint8)
    picture[0, :256, :256] = np.random.default_rng(0).integers(1, 255, (256, 256))
    picture[0, 256:, 256:] = 255
    assert blank_blocks(write_raster(tmp_path / "p.tif", picture, nodata=nodata)) == counts


@pytest.mark.parametrize("nodata", [None, 0])
def test_what_is_said_of_a_blank_part_is_so(tmp_path, write_raster, nodata):
    picture = np.random.default_rng(0).integers(1, 255, (3, 512, 512)).astype(np.uint8)
    picture[:, 256:] = 0
    layer = QgsRasterLayer(write_raster(tmp_path / "p.tif", picture, nodata=nodata), "collar")
    grid = RenderGrid(layer.extent(), 512, 512)
    (warning,) = render(layer, grid, tmp_path / "out.tif", 100, QgsProcessingFeedback())
    written = gdal.Open(str(tmp_path / "out.tif"))
    masked = (written.GetRasterBand(1).GetMaskBand().ReadAsArray() == 0).mean()
    assert masked == (0 if nodata is None else 0.5)
    assert ("there is no image" in warning) == (masked > 0)
    assert ("as nodata" in warning) == (masked == 0)


@pytest.mark.parametrize(
    ("crs", "extent", "metres"),
    [
        ("EPSG:32633", QgsRectangle(500000, 5000000, 501000, 5001000), 0.9996**-1),
        ("EPSG:3857", QgsRectangle(0, 8399737.9, 1000, 8400737.9), 0.5),  # 60° north: scale 2
        ("EPSG:4326", QgsRectangle(0, -0.005, 0.01, 0.005), 1.109),
    ],
)
def test_resolutions_are_true_metres_in_every_crs(crs, extent, metres):
    found = ground_resolution(extent, QgsCoordinateReferenceSystem(crs), 1000, 1000)
    assert found == pytest.approx(metres, rel=0.004)


# Rasters without CRS


def test_a_raster_without_crs_is_addressed_in_pixels(without_crs):
    extent = QgsRectangle(10, -25, 20, -5)  # as QGIS shows it: y from −30 to 0
    assert bounds(extent, without_crs) == [10, 25, 20, 5]  # left, bottom, right, top in (column, row), y down


def test_a_world_file_scales_the_pixels(without_crs, tmp_path):
    (tmp_path / "plain.tfw").write_text("2\n0\n0\n-2\n101\n199\n")
    layer = QgsRasterLayer(without_crs.source(), "world")
    frame = PixelFrame.of(layer)
    assert frame.to_pixels().map(100.0 + 2 * 7, 200.0 - 2 * 9) == (7, 9)
    assert frame.to_map().map(7.0, 9.0) == (100 + 2 * 7, 200 - 2 * 9)


@pytest.mark.parametrize("geotransform", [(100, 2, 0, 200, 0, 2), (100, 2, 0, 200, 0, -3), (100, 2, 1, 200, 1, -2)])
def test_the_backends_pixels_are_the_files_wherever_qgis_shows_them(without_crs, pixels, geotransform):
    """Rows that run upwards, or aslant, QGIS warps to a grid of its own."""
    dataset = gdal.Open(without_crs.source(), gdal.GA_Update)
    dataset.SetGeoTransform(geotransform)
    dataset = None
    layer = QgsRasterLayer(without_crs.source(), "placed")
    frame = PixelFrame.of_file(layer)
    for column, row in ((3, 2), (20, 11), (37, 28)):
        point = QgsPointXY(*frame.to_map().map(column + 0.5, row + 0.5))
        assert layer.dataProvider().sample(point, 1) == (pixels[0, row, column], True)
        assert frame.to_pixels().map(point.x(), point.y()) == pytest.approx((column + 0.5, row + 0.5))


def test_an_extent_on_rows_that_run_upwards_is_told_in_the_files_rows(without_crs):
    dataset = gdal.Open(without_crs.source(), gdal.GA_Update)
    dataset.SetGeoTransform((100, 2, 0, 200, 0, 2))
    dataset = None
    layer = QgsRasterLayer(without_crs.source(), "upwards")
    assert bounds(QgsRectangle(120, 204, 140, 250), layer) == [10, 25, 20, 2]


def test_extents_keep_their_coordinates_with_a_crs(before):
    assert bounds(QgsRectangle(500001, 4999990, 500005, 4999995), before) == [500001, 4999990, 500005, 4999995]


# Polygons


def polygon_layer(crs="EPSG:32633", *boxes):
    layer = QgsVectorLayer(f"Polygon?crs={crs}" if crs else "Polygon", "places", "memory")
    add_boxes(layer.dataProvider(), boxes or ((500001, 4999990, 500005, 4999995),))
    return layer


def add_boxes(target, boxes):
    features = []
    for box in boxes:
        feature = QgsFeature(target.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(*box)))
        features.append(feature)
    target.addFeatures(features)


def saved(layer, path, name="places"):
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", name
    if path.exists():
        options.actionOnExistingFile = QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), layer.transformContext(), options)
    return QgsVectorLayer(f"{path}|layername={name}", name, "ogr")


def boxes_in(path):
    dataset = ogr.Open(path)
    return sorted(feature.GetGeometryRef().GetEnvelope() for feature in dataset.GetLayer(0))


def test_saved_polygons_pass_as_their_file(before, tmp_path):
    layer = saved(polygon_layer(), tmp_path / "places.gpkg")
    assert polygons_path(layer, layer, before, tmp_path / "in") == str(tmp_path / "places.gpkg")
    assert not (tmp_path / "in").exists()


def test_polygons_in_memory_are_exported_with_their_crs(before, tmp_path):
    layer = polygon_layer()
    path = polygons_path(layer, layer, before, tmp_path / "in")
    assert boxes_in(path) == [(500001, 500005, 4999990, 4999995)]
    assert QgsVectorLayer(path, "copy").crs() == UTM


def test_a_folder_that_polygons_cannot_be_written_to_is_said(before, tmp_path):
    layer = polygon_layer()
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written") as caught:
        polygons_path(layer, layer, before, tmp_path / "file" / "in")
    assert caught.value.code == "bad_out_dir" and caught.value.hint


def test_unsaved_edits_are_exported(before, tmp_path):
    layer = saved(polygon_layer(), tmp_path / "places.gpkg")
    layer.startEditing()
    add_boxes(layer, ((500010, 4999990, 500012, 4999995),))
    assert len(boxes_in(polygons_path(layer, layer, before, tmp_path / "in"))) == 2
    layer.rollBack()


def test_a_filter_is_respected(before, tmp_path):
    layer = saved(polygon_layer("EPSG:32633", (0, 0, 1, 1), (5, 5, 6, 6)), tmp_path / "places.gpkg")
    layer.setSubsetString('"fid" = 2')
    assert boxes_in(polygons_path(layer, layer, before, tmp_path / "in")) == [(5, 6, 5, 6)]


def test_selected_polygons_of_a_saved_layer_are_exported(before, tmp_path):
    layer = saved(polygon_layer("EPSG:32633", (0, 0, 1, 1), (5, 5, 6, 6)), tmp_path / "places.gpkg")
    layer.selectByIds([2])
    source = QgsVectorLayerSelectedFeatureSource(layer)
    assert boxes_in(polygons_path(layer, source, before, tmp_path / "in")) == [(5, 6, 5, 6)]


def test_one_table_of_many_is_exported(before, tmp_path):
    saved(polygon_layer(), tmp_path / "places.gpkg", "other")
    layer = saved(polygon_layer("EPSG:32633", (5, 5, 6, 6)), tmp_path / "places.gpkg", "mine")
    assert boxes_in(polygons_path(layer, layer, before, tmp_path / "in")) == [(5, 6, 5, 6)]


def test_polygons_over_a_raster_without_crs_become_pixels(without_crs, tmp_path):
    layer = polygon_layer("", (10, -25, 20, -5))
    path = polygons_path(layer, layer, without_crs, tmp_path / "in")
    assert boxes_in(path) == [(10, 20, 5, 25)]  # minimum and maximum column, minimum and maximum row


def test_marks_of_a_review_are_exported_with_the_polygons(before, tmp_path):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=area:double&field=review:string(16)", "drawn", "memory")
    layer.startEditing()
    add_boxes(layer, ((0, 0, 1, 1), (5, 5, 6, 6), (7, 7, 8, 8)))
    for number, mark in zip(sorted(layer.allFeatureIds(), reverse=True), ("rejected", "confirmed"), strict=False):
        layer.changeAttributeValue(number, layer.fields().indexOf("review"), mark)
    copy = QgsVectorLayer(polygons_path(layer, layer, before, tmp_path / "in"), "copy")
    assert [feature["review"] or None for feature in copy.getFeatures()] == ["rejected", "confirmed", None]
    assert [field.name() for field in copy.fields()] == ["fid", "review"]
    layer.rollBack()


@pytest.mark.parametrize("driver", ["GPKG", "ESRI Shapefile", None])
def test_an_unfinished_run_goes_on_with_its_polygons_though_the_edits_were_saved(before, tmp_path, driver):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=review:string(16)", "drawn", "memory")
    add_boxes(layer.dataProvider(), ((0, 0, 1, 1),))
    if driver:
        options, path = QgsVectorFileWriter.SaveVectorOptions(), str(tmp_path / "drawn.file")
        options.driverName = driver
        path = QgsVectorFileWriter.writeAsVectorFormatV3(layer, path, layer.transformContext(), options)[2]
        layer = QgsVectorLayer(path, "drawn")
    origins, review = [], layer.fields().indexOf("review")

    def kept(target, origin):
        origins.append(origin)
        return str(target) if target.exists() else None

    layer.startEditing()
    add_boxes(layer, ((5, 5, 6, 6), (7, 7, 8, 8)))
    layer.changeAttributeValue(min(layer.allFeatureIds()), review, "rejected")
    begun = polygons_path(layer, layer, before, tmp_path / "in", kept)
    assert layer.commitChanges()
    assert polygons_path(layer, layer, before, tmp_path / "in", kept) == begun
    layer.startEditing()
    layer.changeAttributeValue(max(layer.allFeatureIds()), review, "confirmed")
    polygons_path(layer, layer, before, tmp_path / "in", kept)
    assert origins[0] == origins[1] != origins[2]
    layer.rollBack()


def test_a_crs_given_to_polygons_in_qgis_travels_with_them(before, tmp_path):
    """A shapefile without .prj, whose numbers are those of another zone."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "ESRI Shapefile"
    path = tmp_path / "places.shp"
    layer = polygon_layer()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), layer.transformContext(), options)
    path.with_suffix(".prj").unlink()
    shapes = QgsVectorLayer(str(path), "places", "ogr")
    assert polygons_path(shapes, shapes, before, tmp_path / "in") == str(path), "without a CRS it lies as QGIS shows it"
    shapes.setCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
    copy = polygons_path(shapes, shapes, before, tmp_path / "in")
    assert QgsVectorLayer(copy, "copy").crs().authid() == "EPSG:32634"
    assert boxes_in(copy) == [(500001, 500005, 4999990, 4999995)]


def test_no_polygons_is_refused(before, tmp_path):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "none", "memory")
    with pytest.raises(InputError, match="no polygons"):
        polygons_path(layer, layer, before, tmp_path / "in")


# Credentials


@pytest.mark.parametrize(
    "source",
    [
        "type=xyz&url=https://tiles.example/{z}/{x}/{y}.png?api_key%3Dhush&zmax=19",
        "type=xyz&url=https://ada:hush@tiles.example/{z}/{x}/{y}.png",
        "url=https://wms.example/?map=a&username=ada&password=hush&layers=x",
        "url=https://wms.example/?access_token=hush&crs=EPSG:3857",
        "authcfg=hush&url=https://wms.example",
        "dbname='gis' host=db user='ada' password='hush' table=\"r\"",
        "/vsicurl/https://store.example/a.tif?X-Amz-Signature=hush&sig=hush",
        "https://tiles.example/a?subscription-key=hush",
        "type=xyz&url=https://t0.tianditu.example/wmts?T%3Dvec_w%26tk%3Dhush&zmax=18",
        "/vsicurl/https://ada:pass%40hush@store.example/a.tif",
    ],
)
def test_credentials_are_redacted(source):
    assert "hush" not in redact(source)


def test_what_is_no_credential_stays():
    source = "type=xyz&url=https://tiles.example/{z}/{x}/{y}.png&zmax=19&crs=EPSG:3857"
    assert redact(source) == source
    assert json.loads(redact(json.dumps({"path": "/home/ada/key figures/monkey.tif"}))) == {
        "path": "/home/ada/key figures/monkey.tif"
    }
