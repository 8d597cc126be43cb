"""The classes of a label raster as its file tells them, and a table of classes for one that tells none."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import QgsRasterLayer

GREY = "#808080"


def classes_of(layer: QgsRasterLayer | None) -> list[dict[str, Any]]:
    """``{"index", "name", "color"}`` of each class, by the metadata items CLASS_0, CLASS_1, … and the colour table.

    Empty where the file names no classes, or is none: then those of the generator are meant.
    """
    dataset = _opened(layer)
    if dataset is None:
        return []
    tags = _tags(dataset)
    names = {int(key[6:]): name for key, name in tags.items() if key.startswith("CLASS_") and key[6:].isdigit()}
    table = dataset.GetRasterBand(1).GetColorTable()
    colours = range(table.GetCount()) if table is not None else ()
    return [
        {
            "index": index,
            "name": name,
            "color": "#{:02x}{:02x}{:02x}".format(*table.GetColorEntry(index)[:3]) if index in colours else GREY,
        }
        for index, name in sorted(names.items())
    ]


def write_class_table(classes: list[dict[str, Any]], path: Path) -> str:
    """Write classes, ``{"index", "name", "color"}`` of each, to a CSV as the backend reads it; give its path."""
    with path.open("w", encoding="utf8", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("index", "name", "colour"))
        table.writerows((entry["index"], entry["name"], entry.get("color", "")) for entry in classes)
    return str(path)


def unchanged_classes_of(layer: QgsRasterLayer | None) -> set[int]:
    """The classes of change that mean that nothing changed, by the metadata item UNCHANGED_CLASSES; else 0 alone."""
    dataset = _opened(layer)
    tags = {} if dataset is None else _tags(dataset)
    return {int(index) for index in tags.get("UNCHANGED_CLASSES", "0").split()}


def _opened(layer: QgsRasterLayer | None) -> gdal.Dataset | None:
    if layer is None or not layer.isValid() or layer.providerType() != "gdal":
        return None
    return gdal.Open(layer.dataProvider().dataSourceUri())


def _tags(dataset: gdal.Dataset) -> dict[str, str]:
    return {**dataset.GetRasterBand(1).GetMetadata(), **dataset.GetMetadata()}
