"""Assess a finished detection: choose what is known, read in plain words what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer, QgsVectorLayer, QgsWkbTypes
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QLabel, QMenu, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ..background import AlgorithmRun
from ..icons import own_icon
from ..layer_metadata import read_manifest
from ..result_groups import own_layers
from ..results import DetectionGroup, find_group, input_path
from ..run_folders import assessment_folder, points_folder
from ..series_results import series_groups
from .assessment import add_assessment, keep_words, kept_words


class AssessBar(QWidget):
    """A button with a menu of what a detection can be compared with, and the last assessment in words.

    Signals:
        refused: it could not be assessed; carries the message.
        ended: an assessment, or the drawing of points, is over.
    """

    refused = pyqtSignal(str)
    ended = pyqtSignal()

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
        self._say("" if group is None else kept_words(group))
        self.button.setEnabled(group is not None and self._run is None)

    def assess(self, reference: QgsMapLayer) -> None:
        """Compare the result with a layer; the assessment is added to its group."""
        group = self._group()
        if group is None:
            return
        said = f"Against “{reference.name()}”, from probability {group.threshold:.2f} up:"
        known = "POINTS" if _is_sample(reference) else "REFERENCE"
        folder = assessment_folder(Path(group.folder), reference.name())
        # The probability says the same at the threshold, and how well it is calibrated.
        probability = None if known == "POINTS" else group.layer("change_probability")
        parameters = {
            "PREDICTION": probability or group.layer("change"),
            known: reference,
            "THRESHOLD": group.threshold,
            "OUTPUT_FOLDER": str(folder),
        }
        group_id = group.id  # the group may be gone when the run ends
        self._start("changen2:assessaccuracy", parameters, "Assessing…", lambda outputs: _show(outputs, group_id, said))

    def assess_known(self) -> None:
        """Compare a new result with what was synthesized between its two images, if it was."""
        project = QgsProject.instance()
        group = find_group(project, self._group_id)
        known = next(known_changes(project, group), None) if group is not None else None
        if known is not None and self._run is None:
            self.assess(known)

    def draw_points(self) -> None:
        """Draw a sample of points over the result, to label; it is added to its group."""
        group = self._group()
        if group is None:
            return
        folder = points_folder(Path(group.folder))
        parameters = {"CHANGE": group.layer("change"), "OUTPUT_FOLDER": str(folder)}
        group_id = group.id  # see `assess`
        self._start(
            "changen2:samplepoints",
            parameters,
            "Drawing the points…",
            lambda outputs: _show_points(outputs, group_id),
        )

    def _group(self) -> DetectionGroup | None:
        """The result, if its change layer is still there."""
        group = find_group(QgsProject.instance(), self._group_id)
        if group is not None and group.layer("change") is not None:
            return group
        self.refused.emit("This result has no change layer any more. Run the detection again.")
        return None

    def _start(self, algorithm: str, parameters: dict[str, Any], said: str, show: Callable[[Any], None]) -> None:
        """Run an algorithm; `show` gets its outputs and may raise OSError."""
        self._run = AlgorithmRun(algorithm, parameters, self)
        self._run.done.connect(lambda outputs, _: self._end(lambda: show(outputs)))
        self._run.failed.connect(lambda message: self._end(lambda: self.refused.emit(message)))
        self._run.cancelled.connect(lambda: self._end(lambda: None))
        self.button.setEnabled(False)
        self._say(said)
        self._run.start()

    def shut_down(self) -> None:
        """Stop what runs; for the end of the dock."""
        if self._run is not None:
            self._run.abandon()

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
            self._offer(layer, _meaning(layer))
        if not known and not others:
            self.menu.addAction("Add a map or polygons of known change to the project").setEnabled(False)
        self.menu.addSeparator()
        draw = self.menu.addAction("Draw points to label")
        draw.setToolTip("No change is known? Label a random sample: its accuracy and area come with intervals")
        draw.triggered.connect(self.draw_points)

    def _offer(self, layer: QgsMapLayer, tip: str) -> None:
        action = self.menu.addAction(layer.name())
        action.setToolTip(tip)
        action.triggered.connect(lambda: self.assess(layer))

    def _end(self, report: Callable[[], None]) -> None:
        if self._run is not None:
            self._run.deleteLater()
            self._run = None
        try:
            report()
        except OSError as error:  # an output or a result that has gone
            self.refused.emit(str(error))
        self.show_result(find_group(QgsProject.instance(), self._group_id))
        self.ended.emit()

    def _say(self, text: str) -> None:
        self.words.setText(text)
        self.words.setVisible(bool(text))


def _show(outputs: dict[str, Any], group_id: str, said: str) -> None:
    group = find_group(QgsProject.instance(), group_id)
    if group is None:
        raise OSError(f"The result is no longer in the project. Its assessment is {outputs['REPORT']}.")
    if "ASSESSMENT" in outputs:
        add_assessment(group, outputs["ASSESSMENT"])
    keep_words(group, f"{said} {outputs['WORDS']}")


def _show_points(outputs: dict[str, Any], group_id: str) -> None:
    from .sample_points import add_points

    group = find_group(QgsProject.instance(), group_id)
    if group is None:
        raise OSError(f"The result is no longer in the project. Its points are {outputs['POINTS']}.")
    layer = add_points(group, outputs["POINTS"])
    keep_words(
        group,
        f"{layer.featureCount()} points to label: compare both images at each, then assess against “{layer.name()}”.",
    )


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
    """The layers that may tell what changed: polygons, labelled points, and rasters of one band in a file.

    Of the result's own layers only its points.
    """
    own = {layer.id() for layer in own_layers(group.node)}
    layers = [tree_layer.layer() for tree_layer in project.layerTreeRoot().findLayers()]
    return [
        layer
        for layer in layers
        if layer is not None and (_is_sample(layer) or (layer.id() not in own and _is_map(layer)))
    ]


def _is_map(layer: QgsMapLayer) -> bool:
    if isinstance(layer, QgsRasterLayer):
        return bool(layer.providerType() == "gdal" and layer.bandCount() == 1)
    polygon = QgsWkbTypes.GeometryType.PolygonGeometry
    return isinstance(layer, QgsVectorLayer) and bool(layer.geometryType() == polygon)


def _is_sample(layer: QgsMapLayer) -> bool:
    point = QgsWkbTypes.GeometryType.PointGeometry
    is_points = isinstance(layer, QgsVectorLayer) and layer.geometryType() == point
    return is_points and layer.fields().lookupField("reference") >= 0


def _meaning(layer: QgsMapLayer) -> str:
    if _is_sample(layer):
        return "Points labelled 1 (changed) or 0"
    return "Every value but 0 is change" if isinstance(layer, QgsRasterLayer) else "Change is inside the polygons"
