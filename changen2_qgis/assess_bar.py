"""Assess a finished detection: choose what is known, read in plain words what was found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer, QgsWkbTypes
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QLabel, QMenu, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from .assessment import SUMMARY, add_assessment, find_assessment
from .background import AlgorithmRun
from .icons import own_icon
from .layer_metadata import read_manifest
from .results import DetectionGroup, find_group, input_path
from .run_folders import assessment_folder
from .series_results import series_groups


class AssessBar(QWidget):
    """A button with a menu of what a detection can be compared with, and the last assessment in words.

    Signals:
        refused: it could not be assessed; carries the message.
    """

    refused = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._group_id = ""
        self._run: AlgorithmRun | None = None
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.button = QPushButton(own_icon("assess"), "Assess against…", self)
        self.button.setToolTip("Compare this detection with change that is known: a map or polygons")
        self.button.setMenu(self.menu)
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.words)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.show_result(None)

    def show_result(self, group: DetectionGroup | None) -> None:
        """Take up a result, with what its last assessment said."""
        self._group_id = "" if group is None else group.id
        layer = None if group is None else find_assessment(group.node)
        self._say("" if layer is None else str(layer.customProperty(SUMMARY)))
        self.button.setEnabled(group is not None and self._run is None)

    def assess(self, reference: QgsMapLayer) -> None:
        """Compare the result with a layer; the assessment is added to its group."""
        group = find_group(QgsProject.instance(), self._group_id)
        change = None if group is None else group.layer("change")
        if group is None or change is None:
            self.refused.emit("This result has no change layer any more. Run the detection again.")
            return
        said = f"Against “{reference.name()}”, from probability {group.threshold:.2f} up:"
        folder = assessment_folder(Path(group.folder), reference.name())
        parameters = {"PREDICTION": change, "REFERENCE": reference, "OUTPUT_FOLDER": str(folder)}
        self._run = AlgorithmRun("changen2:assessaccuracy", parameters, self)
        self._run.done.connect(lambda outputs, _: self._show(outputs, group.id, said))
        self._run.failed.connect(self._fail)
        self._run.cancelled.connect(lambda: self._fail(""))
        self.button.setEnabled(False)
        self._say("Assessing…")
        self._run.start()

    def shut_down(self) -> None:
        """Stop what runs."""
        if self._run is not None:
            self._run.cancel()

    def _fill_menu(self) -> None:
        self.menu.clear()
        project = QgsProject.instance()
        group = find_group(project, self._group_id)
        if group is None:
            return
        known = list(known_changes(project, group))
        others = [layer for layer in comparable_layers(project, group) if layer not in known]
        for layer in known:
            self._offer(layer, "What was synthesized between these two images")
        if known and others:
            self.menu.addSeparator()
        for layer in others:
            is_raster = isinstance(layer, QgsRasterLayer)
            self._offer(layer, "Every value but 0 is change" if is_raster else "Change is inside the polygons")
        if not known and not others:
            self.menu.addAction("Add a map or polygons of known change to the project first").setEnabled(False)

    def _offer(self, layer: QgsMapLayer, tip: str) -> None:
        action = self.menu.addAction(layer.name())
        action.setToolTip(tip)
        action.triggered.connect(lambda: self.assess(layer))

    def _show(self, outputs: dict[str, Any], group_id: str, said: str) -> None:
        self._end()
        group = find_group(QgsProject.instance(), group_id)
        if group is None:
            self.refused.emit(f"The result is no longer in the project. Its assessment is {outputs['REPORT']}.")
            return
        try:
            add_assessment(group, outputs["ASSESSMENT"], f"{said} {outputs['WORDS']}")
        except OSError as error:
            self.refused.emit(str(error))
            return
        if group.id == self._group_id:
            self.show_result(group)

    def _fail(self, message: str) -> None:
        self._end()
        self.show_result(find_group(QgsProject.instance(), self._group_id))
        if message:
            self.refused.emit(message)

    def _end(self) -> None:
        if self._run is not None:
            self._run.deleteLater()
            self._run = None
        self.button.setEnabled(bool(self._group_id))

    def _say(self, text: str) -> None:
        self.words.setText(text)
        self.words.setVisible(bool(text))


def known_changes(project: QgsProject, group: DetectionGroup) -> Iterator[QgsMapLayer]:
    """The change masks of a series between whose two images a detection looked for change."""
    try:
        inputs = read_manifest(group.folder)["inputs"]
        looked_at = [os.path.realpath(input_path(inputs[date], group.folder)) for date in ("before", "after")]
    except (OSError, ValueError, KeyError):  # a result from elsewhere
        return
    for series in series_groups(project):
        for step in series.steps:
            drawn = [series.layer("image", number) for number in (step, step + 1)]
            change = series.layer("change", step + 1)
            sources = [os.path.realpath(image.source()) for image in drawn if image is not None]
            if change is not None and sources == looked_at:
                yield change


def comparable_layers(project: QgsProject, group: DetectionGroup) -> list[QgsMapLayer]:
    """The layers that may hold known change: polygons, and rasters of one band in a file; none of the result's own."""
    own = {tree_layer.layerId() for tree_layer in group.node.findLayers()}
    others = [tree_layer.layer() for tree_layer in project.layerTreeRoot().findLayers()]
    return [layer for layer in others if layer is not None and layer.id() not in own and _is_comparable(layer)]


def _is_comparable(layer: QgsMapLayer) -> bool:
    if isinstance(layer, QgsRasterLayer):
        return bool(layer.providerType() == "gdal" and layer.bandCount() == 1)
    polygon = QgsWkbTypes.GeometryType.PolygonGeometry
    return isinstance(layer, QgsVectorLayer) and bool(layer.geometryType() == polygon)
