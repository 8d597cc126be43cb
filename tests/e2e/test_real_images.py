"""Two dates of real aerial imagery whose grids differ, in the real QGIS, with keys."""

import pytest


@pytest.fixture
def naip(shared_data):
    images = sorted((shared_data / "geo" / "naip").glob("*.tif"))
    assert len(images) >= 2
    return images[0], images[-1]


def test_the_visible_map_of_two_real_images(run_in_qgis, naip, tmp_path):
    told = run_in_qgis("detect_visible_map.py", tmp_path, naip)
    assert told["chosen"] == [path.stem for path in naip]
    assert told["way"] == "Visible map"
    assert told["bands"] == [1, 2, 3]
    assert "trained at" in told["estimate"]  # 5 m is far from what the model knows, and is said so
    assert told["threshold"] == pytest.approx(0.02)
    assert told["covers"] and told["crs"]
    assert [offset - round(offset) for offset in told["offset"]] == pytest.approx([0, 0], abs=1e-6)
    assert told["position"] == (f"1 of {told['places']}" if told["places"] else "Nothing to review")
