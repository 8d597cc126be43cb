"""Files of several layers: the one that is meant is read, and where nobody can know which it is, that is said."""

import json
import warnings
import zipfile

import numpy as np
import pyogrio
import pytest
import shapely

from changen2.errors import InputError
from changen2.raster.layers import has_layers, read_layer

EAST, WEST, DOT = shapely.box(10, 50, 11, 51), shapely.box(-2, 50, -1, 51), shapely.Point(5, 5)
FORMATS = {".gpkg": "GPKG", ".kml": "LIBKML"}


@pytest.fixture(autouse=True)
def no_warning_reaches_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(params=FORMATS)
def file(tmp_path, request):
    """Write layers by name, each of one shape; those of a KML file declare no kind."""
    path = tmp_path / f"layers{request.param}"

    def write(**layers):
        for name, shape in layers.items():
            pyogrio.raw.write(
                path, np.array([shapely.to_wkb(shape)]), field_data=[np.array([name], object)], fields=["note"],
                layer=name, driver=FORMATS[request.param], geometry_type=shape.geom_type, crs="EPSG:4326",
                append=path.exists(),
            )  # fmt: skip
        return path

    return write


def shapes_of(source, **given):
    return [shapely.force_2d(shape) for shape in read_layer(source, **given).geometries]


def test_the_layer_that_is_named_is_read(file):
    path = file(west=WEST, east=EAST)
    for name, shape in {"west": WEST, "east": EAST}.items():
        layer = read_layer(f"{path}|layername={name}")
        assert shapely.force_2d(layer.geometries[0]).equals(shape)
        assert has_layers(f"{path}|layername={name}")


def test_points_and_tables_beside_the_only_polygons_do_not_count(file):
    path = file(dots=DOT, east=EAST)
    assert shapes_of(path)[0].equals(EAST)
    assert shapes_of(path, kind="point")[0].equals(DOT)


def test_several_that_could_be_meant_are_told(file):
    path = file(west=WEST, east=EAST, dots=DOT)
    with pytest.raises(InputError, match="several polygon layers: west, east") as caught:
        read_layer(path)
    assert caught.value.code == "bad_layer" and f"'{path}|layername=west'" in caught.value.hint


def test_a_usual_name_says_which_is_meant(file):
    path = file(west=WEST, change=EAST)
    assert shapes_of(path, usual=("changes", "change"))[0].equals(EAST)


def test_what_qgis_writes_behind_a_name_does_not_matter_but_a_filter_does(file):
    path = file(west=WEST, change=EAST)
    assert shapes_of(f"{path}|layername=change|geometrytype=Polygon")[0].equals(EAST)
    with pytest.raises(InputError, match="subset") as caught:
        shapes_of(f"{path}|layername=change|subset=id > 1")
    assert caught.value.code == "bad_layer"


def test_a_name_that_is_not_there_is_refused_with_those_that_are(file):
    path = file(west=WEST, east=EAST)
    with pytest.raises(InputError, match="no layer 'north'; it has west, east"):
        read_layer(f"{path}|layername=north")


def test_a_layer_in_an_archive_is_read(file, tmp_path):
    path = file(east=EAST)
    archive = tmp_path / "layers.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(path, path.name)
    inside = f"/vsizip/{archive}/{path.name}"
    assert shapes_of(inside)[0].equals(EAST) and has_layers(inside)
    assert shapes_of(f"{inside}|layername=east")[0].equals(EAST)
    with pytest.raises(InputError) as caught:
        read_layer(f"/vsizip/{archive}/missing.gpkg")
    assert caught.value.code == "unreadable"


def test_a_bar_in_the_name_of_a_file_is_no_layer(tmp_path):
    path = tmp_path / "a|layername=b.geojson"
    try:
        path.touch()
    except OSError:
        pytest.skip("such names are not allowed here")
    pyogrio.raw.write(
        path, np.array([shapely.to_wkb(EAST)]), field_data=[], fields=[], driver="GeoJSON", geometry_type="Polygon",
        crs="EPSG:4326",
    )  # fmt: skip
    assert shapes_of(path)[0].equals(EAST)


def test_features_in_a_box_keep_their_order_and_numbers_whatever_their_ids(tmp_path):
    path = tmp_path / "layer.geojson"
    features = [
        {"type": "Feature", "id": 900 - at, "properties": {"at": at}, "geometry": shapely.geometry.mapping(shape)}
        for at, shape in enumerate((WEST, EAST, WEST, EAST, EAST), 1)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    asked = []
    layer = read_layer(path, around=lambda crs, extent: (asked.append((crs, *extent)), EAST.bounds)[1])
    assert asked == [("EPSG:4326", -2, 50, 11, 51)]
    assert layer.numbers.tolist() == layer.fields["at"].tolist() == [2, 4, 5] and layer.count == 5
    assert all(shape.equals(EAST) for shape in layer.geometries)
    assert len(read_layer(path, around=lambda crs, extent: None).geometries) == 5
