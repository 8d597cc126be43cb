"""The groups of results in the layer tree: which there are, what is theirs, and where their runs lie."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from qgis.core import QgsLayerTreeGroup, QgsLayerTreeLayer, QgsMapLayer, QgsProject

from .layer_metadata import FOLDER, read_manifest

ROLE = "changen2/role"
"""Property of a layer that is part of a result: what it shows."""


def result_nodes(project: QgsProject, identity: str) -> list[QgsLayerTreeGroup]:
    """The groups of one kind of result, from the top of the layer tree down, each with an identity of its own.

    A group that was copied and pasted, or comes from a layer definition file, has the original's identity at first,
    but layers of its own. It gets another one when it is first met.

    Args:
        project: with the layer tree.
        identity: the property that groups of this kind have: the id of a layer that the group had when it was made.
    """
    nodes = [node for node in project.layerTreeRoot().findGroups(True) if node.customProperty(identity)]
    same: dict[str, list[QgsLayerTreeGroup]] = {}
    for node in nodes:
        same.setdefault(node.customProperty(identity), []).append(node)
    for layer_id, alike in same.items():
        originals = [node for node in alike if node.findLayer(layer_id) is not None] or alike[:1]
        for copy in alike:
            if copy not in originals:
                copy.setCustomProperty(identity, uuid.uuid4().hex)
    return nodes


def is_result(layer: QgsMapLayer) -> bool:
    """Whether a layer is part of a result, or was loaded by the toolbox as one."""
    return layer.customProperty(ROLE) is not None or layer.customProperty(FOLDER) is not None


def own_layers(node: QgsLayerTreeGroup) -> Iterator[QgsMapLayer]:
    """The layers of a result from top to bottom, without those of another result that was put into its group."""
    for child in node.children():
        if isinstance(child, QgsLayerTreeLayer):
            if child.layer() is not None:
                yield child.layer()
        elif not child.customProperty(FOLDER):
            yield from own_layers(child)


def unfold(node: QgsLayerTreeGroup) -> None:
    """Show what is in a new group: the Layers panel of QGIS 3.22 folds it until its state changes."""
    for expanded in (False, True):
        node.setExpanded(expanded)


def run_folder(node: QgsLayerTreeGroup) -> str:
    """The run folder of a result's group: where its layers lie now, for a project is moved with its runs.

    QGIS keeps the layers' paths relative to the project, and so finds them again; not those in properties. A folder
    that has another name by now is known by its manifest, which names the files of the layers that were found again.
    """
    kept = str(node.customProperty(FOLDER))
    results = [layer for layer in own_layers(node) if layer.customProperty(ROLE) is not None]
    files = [Path(layer.source().split("|")[0]) for layer in results]
    name = PureWindowsPath(kept).name  # takes both kinds of slashes
    for folder in dict.fromkeys(parent for file in files for parent in file.parents if parent.name == name):
        if folder.is_dir():
            return str(folder)
    for file in files:
        for folder in list(file.parents)[:2]:  # files of another threshold lie one deeper
            if file.name in _named_in_manifest(folder):
                return str(folder)
    return kept


def _named_in_manifest(folder: Path) -> set[str]:
    """The files that a run has left in a folder; none where it is no run's."""
    try:
        return {PureWindowsPath(path).name for path in read_manifest(folder)["outputs"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # no manifest, or one from elsewhere
        return set()
