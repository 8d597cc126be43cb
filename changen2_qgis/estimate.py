"""What a detection would take, asked of the backend before it runs."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsCoordinateTransform, QgsProject, QgsReferencedRectangle

from . import inputs


def estimate_request(parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Parameters of the backend's `estimate` for those of `changen2:detectchange`.

    Polygons are stood for by their bounding box, which needs no export.

    Returns:
        None where an image is no file that the backend can open; such images are rendered when the run starts.

    Raises:
        InputError: a layer is broken.
        QgsCsException: the area cannot be expressed in the CRS of the first image.
    """
    before, after = parameters["BEFORE"], parameters["AFTER"]
    paths = [inputs.direct_path(layer) for layer in (before, after)]
    if None in paths:
        return None
    request: dict[str, Any] = {"before": paths[0], "after": paths[1], "model": parameters["MODEL"]}
    request["device"] = parameters["DEVICE"]
    if "GSD" in parameters:
        request["gsd"] = "auto" if parameters["GSD"] == "auto" else float(parameters["GSD"])
    area = _area(parameters)
    if area is not None:
        if area.crs().isValid() and before.crs().isValid():
            to_before = QgsCoordinateTransform(area.crs(), before.crs(), QgsProject.instance())
            area = to_before.transformBoundingBox(area)
        request["bounds"] = inputs.bounds(area, before)
    return request


def _area(parameters: dict[str, Any]) -> QgsReferencedRectangle | None:
    if "AOI" in parameters:
        layer = parameters["AOI"]
        return QgsReferencedRectangle(layer.extent(), layer.crs())
    return parameters.get("EXTENT")
