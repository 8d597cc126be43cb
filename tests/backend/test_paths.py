"""Paths of a request mean the same from every working folder; what GDAL alone can tell stays as it is."""

import os
from pathlib import Path

import pytest

from changen2.errors import InputError
from changen2.paths import absolute, absolute_source, absolute_unless_words, local_file, only_gdal_can_tell
from changen2.protocol import (
    DetectRequest,
    FinetuneRequest,
    GenerateRequest,
    SimulateRequest,
    SynthesizeRequest,
    validate,
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a file in it, and a link to a folder elsewhere."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "a.tif").write_text("a")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "written", ["a.tif", "./a.tif", "../here/a.tif", "x/../a.tif", "{here}/a.tif", "{here}//a.tif"]
)
def test_one_file_has_one_name_however_it_is_written(here, written):
    assert absolute(written.format(here=here)) == absolute_source(written.format(here=here)) == str(here / "a.tif")


def test_links_are_not_followed_and_their_neighbours_are_those_of_the_target(here, tmp_path):
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "far" / "a.tif").write_text("another")
    try:
        Path("link").symlink_to(tmp_path / "far" / "folder")
    except OSError:
        pytest.skip("links are not allowed here")
    assert absolute("link/b.tif") == str(here / "link" / "b.tif")
    assert Path(absolute("link/../a.tif")).read_text() == Path("link/../a.tif").read_text() == "another"


@pytest.mark.parametrize(
    "source",
    [
        "/vsicurl/https://example.org/a.tif",
        "/vsizip/a.zip/a.tif",
        "https://example.org/a.tif",
        "s3://folder/a.tif",
        'NETCDF:"a.nc":height',
        "GPKG:a.gpkg:roads",
        "type=xyz&url=https://example.org/{z}/{x}/{y}.png",
        "<VRTDataset/>",
        "",
    ],
)
def test_what_is_no_local_file_stays(here, source):
    assert absolute_source(source) == source
    assert local_file(source) is None and only_gdal_can_tell(source) == bool(source)


@pytest.mark.parametrize(
    "source", ["{here}/a.tif", "a.tif|layername=b", "/vsizip/a.tif", "/vsizip/a.tif/b.shp|layername=c/d",
               "/vsigzip//vsitar/{here}/a.tif/b/c.gpkg.gz"],
)  # fmt: skip
def test_the_file_behind_a_source_is_found(here, source):
    assert local_file(source.format(here=here)).samefile("a.tif")


@pytest.mark.parametrize("told", ["", "/b.shp", "/b.gpkg|layername=../c/d", "|layername=c"])
@pytest.mark.parametrize("written", ["{}", "./{}", "../here/{}", "{here}/{}", "{here}/../here/{}"])
@pytest.mark.parametrize(
    "ways", ["/vsizip/", "/vsitar/{", "/vsigzip//vsitar/", "/vsizip/{/vsizip/", "/vsizip/{/vsizip/{"]
)  # fmt: skip
def test_one_archive_has_one_name_however_it_is_written(here, ways, written, told):
    archive, told = written.replace("{}", "a.tif").replace("{here}", str(here)), "}" * ways.count("{") + told
    given = f"{ways}{archive}{told}"
    assert absolute_source(given) == absolute_unless_words(given) == f"{ways}{here / 'a.tif'}{told}"
    assert local_file(given).samefile("a.tif")


@pytest.mark.parametrize("source", ["/vsis3/a.tif/b.tif", "/vsizip/vsicurl/a.tif", "/vsimem/a.tif", "a.tif/b.tif"])
def test_a_file_of_the_same_name_is_not_what_lies_elsewhere(here, source):
    assert absolute_source(source) in (source, str(here / source)) and local_file(source) is None


def test_the_name_of_a_layer_stays(here):
    assert absolute_source("b.gpkg|layername=../roads/b") == f"{here / 'b.gpkg'}|layername=../roads/b"


def test_words_stay_even_beside_files_of_their_name(here):
    Path("auto").write_text("a file")
    for words in ("auto", "create,remove", "Edit, create", "host:8786", "tcp://host:8786"):
        assert absolute_unless_words(words) == words
    assert absolute_unless_words("a.tif") == str(here / "a.tif")


every_path = pytest.mark.parametrize(
    ("schema", "given"),
    [
        (DetectRequest, {"before": "a.tif", "after": "a.tif", "out_dir": "o", "aoi": "a.tif", "dask": "a.tif"}),
        (SimulateRequest, {"labels": "a.tif", "out_dir": "o", "events": "a.tif", "instances": "a.tif"}),
        (SynthesizeRequest, {"image": "a.tif", "out_dir": "o", "events": "a.tif", "classes": "a.tif"}),
        (GenerateRequest, {"image_dir": "i", "out_dir": "o", "labels": "l", "transitions": "a.tif"}),
        (FinetuneRequest, {"out_dir": "o", "pairs": "p", "before": "a.tif", "changes": "a.tif"}),
    ],
)
REST = {GenerateRequest: {"pairs": 1}, FinetuneRequest: {"name": "mine"}}


@every_path
def test_requests_hold_whole_paths(here, schema, given):
    request = schema.model_validate({**given, **REST.get(schema, {})})
    for name in given:
        assert getattr(request, name) == os.path.join(here, given[name])  # noqa: PTH118


@every_path
def test_a_path_is_as_good_as_its_text(here, schema, given):
    rest = REST.get(schema, {})
    assert validate(schema, {name: Path(text) for name, text in given.items()} | rest) == validate(schema, given | rest)


@every_path
def test_a_name_that_is_no_utf_8_is_refused(here, schema, given):
    """As Python calls a file named by the byte 255; it cannot be printed, nor kept in a manifest."""
    for name in given:
        with pytest.raises(InputError, match="is not a UTF-8 name") as caught:
            validate(schema, {**given, **REST.get(schema, {}), name: "b\udcff.tif"})
        assert b"b\\udcff.tif" in caught.value.message.encode() and "Rename" in caught.value.hint
