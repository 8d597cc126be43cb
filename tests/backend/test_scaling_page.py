"""The STAC item of docs/scaling.md has what STAC 1.0.0 asks of an item, and names the files of a run."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
import shapely

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


@pytest.fixture
def item():
    (found,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf8"), re.DOTALL)
    return json.loads(found)


def test_what_an_item_needs_is_there(item):
    assert item["type"] == "Feature" and item["stac_version"] == "1.0.0" and item["id"]
    assert list(shapely.geometry.shape(item["geometry"]).bounds) == item["bbox"]
    assert all(link["rel"] and link["href"] for link in item["links"]) and item["links"]
    assert all(asset["href"] for asset in item["assets"].values())
    # Without a datetime of its own an item needs both ends, in RFC 3339.
    assert item["properties"]["datetime"] is None
    start, end = (item["properties"][name].replace("Z", "+00:00") for name in ("start_datetime", "end_datetime"))
    assert datetime.fromisoformat(start) < datetime.fromisoformat(end)


def test_its_assets_are_the_outputs_of_a_detection(item, pair, tmp_path, difference):
    outputs = difference(*pair, tmp_path / "run")["outputs"]
    assert {name: Path(asset["href"]).name for name, asset in item["assets"].items()}.items() <= {
        name: Path(path).name for name, path in outputs.items()
    }.items()
