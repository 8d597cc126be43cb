"""Layers of vector files: which one is meant, and what it holds."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from changen2.errors import InputError
from changen2.paths import may_be_there
from changen2.raster.grid import Bounds
from changen2.raster.vector_files import for_pyogrio

NOTATION = "|layername="
"""Stands between a file and the name of one of its layers, as in QGIS."""

CHANGES = ("change", "change_events")
"""Names of the layers that detection and synthesis write."""

REVIEW, REJECTED = "review", "rejected"
REVIEWS = frozenset({"unreviewed", "confirmed", REJECTED})
"""Field of a detection's polygons, and what the plugin marks them with."""

EVENT = ("event", "step")
"""Fields that tell a layer of a synthesis' events from other changes: what happens, and when."""

Kind = Literal["polygon", "point"]

Around = Callable[[str | None, Bounds], Bounds | None]
"""What of a layer is wanted, by its CRS and its extent, in its coordinates; None: all of it."""

DECLARED = {"polygon": ("Polygon", "Surface"), "point": ("Point",)}
DIMENSIONS = {"polygon": 2, "point": 0}


@dataclass(frozen=True)
class Layer:
    """What a layer holds.

    Attributes:
        geometries: of its features; None where one has none. Empty for a table.
        fields: values by name, one for each feature.
        crs: as WKT or ``EPSG:…``; None where it has none.
        numbers: of the features, from 1 as they lie in the file, ascending. Empty for a table.
        count: of the features in the file, read or not. 0 for a table.
    """

    geometries: list[BaseGeometry | None]
    fields: dict[str, NDArray[Any]]
    crs: str | None
    numbers: NDArray[np.int64]
    count: int


def read_layer(
    source: str | Path,
    kind: Kind = "polygon",
    *,
    usual: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    around: Around | None = None,
) -> Layer:
    """Read a layer of any vector file.

    Args:
        source: a file, also one that GDAL alone can tell (``/vsizip/…``), with ``|layername=NAME`` behind it where it
            holds several layers of that kind. Layers of other kinds and tables do not count.
        kind: of the features that are looked for.
        usual: names of which the first that is there is meant, where no name is given.
        columns: fields to read; None: all.
        around: tells the box that features have to meet to be read; None: all are.

    Raises:
        InputError: ``missing_file``, ``unreadable``, or ``bad_layer``: there is no such layer, or it has to be named.
    """
    path = _file_and_name(str(source))[0]
    if not may_be_there(path):
        raise InputError(f"There is no file {path}.", hint="Check the path.", code="missing_file")
    with warnings.catch_warnings():
        # What pyogrio warns of is either said in the words of this program or does not matter for shapes.
        warnings.filterwarnings("ignore", module="pyogrio")
        try:
            return _read(*chosen_layer(source, kind, usual=usual), columns, around)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            raise InputError(
                f"{path} cannot be read as a vector layer: {error}", hint="Export it as GeoPackage.", code="unreadable"
            ) from error


def chosen_layer(source: str | Path, kind: Kind = "polygon", *, usual: Sequence[str] = ()) -> tuple[str, str]:
    """Return the file and the name of the layer that a source means; see :func:`read_layer`.

    Raises:
        InputError: ``bad_layer``.
        pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError: it is no vector file, or holds no layer.
    """
    path, name = _file_and_name(str(source))
    return path, _choose(path, name, kind, usual)


def has_layers(source: str) -> bool:
    """Tell whether a source can be read as a vector file."""
    path, _ = _file_and_name(source)
    try:
        return len(_list(path)) > 0
    except pyogrio.errors.DataSourceError:
        return False


def _file_and_name(source: str) -> tuple[str, str | None]:
    """The file and the layer's name, of QGIS's notation ``FILE|layername=NAME|geometrytype=Polygon``."""
    path, *options = source.split("|")
    if os.path.exists(source):  # noqa: PTH110 - also false for what is no path
        return source, None
    told = dict(option.partition("=")[::2] for option in options)
    if refused := told.keys() - {"layername", "geometrytype"}:
        raise InputError(
            f"{source} has {', '.join(sorted(refused))}, which only QGIS can read.",
            hint=f"Export the layer and give that file, or name a layer alone: FILE{NOTATION}NAME.",
            code="bad_layer",
        )
    return path, told.get("layername")


def _choose(path: str, wanted: str | None, kind: Kind, usual: Sequence[str]) -> str:
    declared = _list(path)
    if not declared:
        raise pyogrio.errors.DataLayerError("it holds no layer")
    if wanted is not None:
        if wanted not in declared:
            raise InputError(
                f"{path} has no layer {wanted!r}; it has {', '.join(declared)}.",
                hint=f"Write one of them behind the file: FILE{NOTATION}NAME.",
                code="bad_layer",
            )
        return wanted
    if len(declared) == 1:
        return next(iter(declared))
    fitting = [name for name, of in declared.items() if _holds(path, name, of, kind)]
    known = [name for name in usual if name in fitting]
    if len(fitting) > 1 and not known:
        raise InputError(
            f"{path} has several {kind} layers: {', '.join(fitting)}.",
            hint=f"Write which one is meant behind the file, between quotes: '{path}{NOTATION}{fitting[0]}'.",
            code="bad_layer",
        )
    return next(iter(known or fitting or declared))


def _list(path: str) -> dict[str, str | None]:
    """The layers of a file, and of which kind they declare to be; None: tables."""
    with for_pyogrio(path) as name:
        return dict(pyogrio.list_layers(name))


def _holds(path: str, name: str, declared: str | None, kind: Kind) -> bool:
    """Whether a layer is of a kind by what it declares, or by its features where it declares to be of any."""
    if declared is None:
        return False
    if declared != "Unknown" and "Collection" not in declared:
        return any(word in declared for word in DECLARED[kind])
    shapes = [shape for shape in _read(path, name, []).geometries if shape is not None]
    return any(shapely.get_dimensions(shapes) == DIMENSIONS[kind])


def _read(path: str, name: str, columns: Sequence[str] | None, around: Around | None = None) -> Layer:
    with for_pyogrio(path) as file:
        box = None if around is None else _box(file, name, around)
        meta, fids, wkb, fields = pyogrio.raw.read(
            file, layer=name, columns=columns, bbox=box, return_fids=box is not None
        )
        geometries = np.array([] if wkb is None else shapely.from_wkb(wkb), object)
        count = len(geometries)
        numbers = np.arange(1, count + 1)
        if box is not None:
            # Through a spatial index they come in any order; numbers of features need have no order either.
            every = pyogrio.raw.read(file, layer=name, columns=[], read_geometry=False, return_fids=True)[1]
            count, ascending = len(every), np.argsort(every)
            places = ascending[np.searchsorted(every, fids, sorter=ascending)]
            order = np.argsort(places)
            numbers, geometries = places[order] + 1, geometries[order]
            fields = [values[order] for values in fields]
    named = dict(zip(map(str, meta["fields"]), fields, strict=True))
    return Layer(list(geometries), named, meta.get("crs"), numbers, count)


def _box(file: str, name: str, around: Around) -> Bounds | None:
    """What of a layer is to be read; None where that is all of it."""
    about = pyogrio.read_info(file, layer=name, force_total_bounds=True)
    extent = about["total_bounds"]
    if extent is None or not np.isfinite(extent).all():
        return None
    box = around(about["crs"], extent)
    return None if box is None or shapely.box(*box).covers(shapely.box(*extent)) else box
