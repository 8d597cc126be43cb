"""What a layer says of the run that it is of."""

import json

import pytest
from qgis.core import QgsVectorLayer

from changen2_qgis.layer_metadata import carry_manifest


@pytest.mark.parametrize("aoi", [{}, {"aoi": {"path": "/runs/north/inputs/aoi.gpkg"}}])
def test_a_result_is_made_from_its_images_wherever_one_looked(qgis_new_project, tmp_path, aoi):
    inputs = {"before": {"path": "/images/2020.tif"}, "after": {"path": "/images/2024.tif"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"job": "detect", "inputs": inputs | aoi}), encoding="utf8")
    layer = QgsVectorLayer("Polygon", "Change", "memory")
    carry_manifest(layer, tmp_path)
    assert layer.metadata().abstract() == "Result of detect by Changen2, from 2020.tif and 2024.tif."
