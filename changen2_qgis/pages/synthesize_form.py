"""The settings of a synthesis: an image, what changes, and how it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer, QgsProject, QgsRasterLayer
from qgis.gui import QgsCollapsibleGroupBox, QgsDoubleSpinBox, QgsFileWidget, QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QSpinBox, QToolButton, QVBoxLayout, QWidget

from ..events.layer import LARGEST_STEP
from ..events.source import SIMULATE, EventSource
from ..label_classes import classes_of, write_class_table
from ..processing.synthesize_change import QUALITIES as STEPS_OF
from ..rendering import has_own_pixels
from ..results import given_rasters
from ..settings import Settings
from ..widgets.band_mapping import BandMapping
from ..widgets.dates_picker import DatesPicker
from ..widgets.extent_picker import ExtentPicker
from ..widgets.form_rows import choose, fill, label_for, list_of, new_form, offer_devices
from ..widgets.model_picker import ModelPicker
from ..widgets.raster_picker import RasterPicker
from ..widgets.seed_picker import SeedPicker
from ..worker_client import Hello

QUALITIES = (("Fast: for a first look", "fast"), ("Good", "good"))
SAMPLERS = (("DPM-Solver++ (few steps)", "dpmpp"), ("DDIM", "ddim"), ("DDPM (many steps)", "ddpm"))
STARTS = (("What suits the model", "auto"), ("An object of the wanted class", "exemplar"), ("Noise", "noise"))

CONTOUR = "contour"
"""A class that generators have for their own use."""


class SynthesizeForm(QWidget):
    """All controls of a synthesis and nothing that acts.

    Signals:
        changed: `parameters` or `problem` may have changed.
        preview_clicked: the simulated events are wanted on the map.
        noted, failed: something that the user should know, or that did not work; carry the message.
    """

    changed = pyqtSignal()
    preview_clicked = pyqtSignal()
    noted = pyqtSignal(str)
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = Settings()
        self.image = RasterPicker("image that the change is drawn into", self)
        self.labels = RasterPicker("raster of classes at the date of the image, if there is one", self)
        self.events = EventSource(canvas, self)
        self.steps = QSpinBox(self)
        self._simulated_steps = 1
        self._labels_chosen: set[str] = set()  # by themselves, ids of layers
        self.extent = ExtentPicker(canvas, self)
        tip = "What draws the change; each model knows certain classes and resolutions"
        self.model = ModelPicker(tip, self._settings.generator, _can_draw, self)
        self.quality = list_of("How carefully it is drawn; fast takes less than half the time", self)
        self.seed = SeedPicker(self)
        self.advanced = QgsCollapsibleGroupBox("Dates, drawing and output", self)
        self.dates = DatesPicker(self.advanced)
        self.bands = BandMapping("before", self.advanced)
        self.resolution = QgsDoubleSpinBox(self.advanced)
        self.device = list_of("What computes: a graphics card is 10 to 100 times faster than the processor", self)
        self.sampler = list_of("How noise becomes an image", self.advanced)
        self.start = list_of("What the drawing of a changed place begins with", self.advanced)
        self.folder = QgsFileWidget(self.advanced)
        self._set_up()
        self._lay_out()
        self._connect()

    def _set_up(self) -> None:
        self.steps.setRange(0, LARGEST_STEP)
        self.steps.setSpecialValueText("as drawn")
        self.steps.setToolTip("How many images follow, one for each step")
        self.extent.way.setToolTip("Which part of the image is written; nothing changes outside")
        fill(self.quality, QUALITIES)
        choose(self.quality, self._settings.quality)
        self.device.addItem("Automatic", "auto")
        self.resolution.setRange(0, 1000)
        self.resolution.setDecimals(2)
        self.resolution.setSingleStep(0.1)
        self.resolution.setSuffix(" m")
        self.resolution.setClearValue(0, "as the model")
        self.resolution.setToolTip("Pixel size on the ground, in metres, at which a web map is fetched")
        self.resolution.setEnabled(False)
        fill(self.sampler, SAMPLERS)
        fill(self.start, STARTS)
        self.folder.setStorageMode(QgsFileWidget.StorageMode.GetDirectory)
        self.folder.lineEdit().setPlaceholderText("A new one beside the project")
        self.folder.lineEdit().setToolTip("The folder for the results; it must be empty or new")
        self.folder.setDialogTitle("Folder for the results")
        for button in self.folder.findChildren(QToolButton):
            button.setToolTip("Choose a folder")
            button.setAccessibleName("Choose a folder")

    def _lay_out(self) -> None:
        form = new_form()
        for text, control in (("Image", self.image), ("Labels", self.labels), ("Change", self.events.way)):
            form.addRow(label_for(text, control), control)
        form.addRow(self.events)
        for text, control in (
            ("Steps", self.steps),
            ("Area", self.extent),
            ("Model", self.model),
            ("Quality", self.quality),
            ("Seed", self.seed),
        ):
            form.addRow(label_for(text, control), control)
        details = new_form()
        details.setContentsMargins(8, 4, 8, 8)
        details.addRow(label_for("First date", self.dates.start), self.dates.start)
        details.addRow(label_for("Interval", self.dates.amount), self.dates)
        for text, control in (
            ("Bands", self.bands),
            ("Resolution", self.resolution),
            ("Device", self.device),
            ("Sampler", self.sampler),
            ("Start from", self.start),
        ):
            details.addRow(label_for(text, control), control)
        folder = label_for("Folder", self.folder)
        folder.setBuddy(self.folder.lineEdit())
        details.addRow(folder, self.folder)
        self.advanced.setLayout(details)
        self.advanced.setCollapsed(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(self.advanced)
        column.addStretch(1)

    def _connect(self) -> None:
        self.image.changed.connect(self._follow_image)
        self.labels.changed.connect(self._follow_labels)
        self.model.currentIndexChanged.connect(self._follow_model)
        self.events.way.currentIndexChanged.connect(self._follow_source)
        self.events.preview_clicked.connect(self.preview_clicked)
        for part in (self.image, self.labels, self.events):
            part.failed.connect(self.failed)
        self.events.noted.connect(self.noted)
        for signal in (
            self.image.changed,
            self.labels.changed,
            self.events.changed,
            self.steps.valueChanged,
            self.extent.changed,
            self.model.currentIndexChanged,
            self.quality.currentIndexChanged,
            self.seed.changed,
            self.bands.changed,
            self.resolution.valueChanged,
            self.device.currentIndexChanged,
            self.sampler.currentIndexChanged,
            self.start.currentIndexChanged,
            self.folder.fileChanged,
        ):
            signal.connect(lambda *_: self.changed.emit())

    # What there is

    def set_backend(self, hello: Hello) -> None:
        """Offer the models and devices that the backend has."""
        offer_devices(self.device, hello, self._settings.device)
        self.set_models(hello.models)
        choose(self.model, self._settings.generator)
        self._follow_model()

    def set_models(self, models: Iterable[dict[str, Any]]) -> None:
        """Offer the models that are here and draw; the chosen one stays chosen."""
        self.model.offer(models)
        self._follow_model()
        self.changed.emit()

    def choose_layers(self, current: QgsMapLayer | None) -> None:
        """Choose the image where none is: the only one, else the one that is current in QGIS; and the only labels.

        Labels have a palette and name their classes; what is no labels is an image, and so is the only raster there
        is. Results of runs are neither. Labels are chosen once: who takes them back wants none.
        """
        rasters = given_rasters(QgsProject.instance())
        with_palette = [layer for layer in rasters if layer.rasterType() == QgsRasterLayer.LayerType.Palette]
        labels = [layer for layer in with_palette if classes_of(layer)] if len(rasters) > 1 else []
        images = [layer for layer in rasters if layer not in labels]
        if self.image.layer() is None:
            if len(images) == 1:
                self.image.set_layer(images[0])
            elif current in images:
                self.image.set_layer(current)
        if self.labels.layer() is None and len(labels) == 1 and labels[0].id() not in self._labels_chosen:
            self._labels_chosen.add(labels[0].id())
            self.labels.set_layer(labels[0])

    # What is chosen

    def remember(self) -> None:
        """Keep the choices that suit the next project as well."""
        self._settings.generator = self.model.currentData()
        self._settings.device = self.device.currentData()
        self._settings.quality = self.quality.currentData()

    def problem(self) -> str:
        """What is missing before a run, as the next step for the user; empty if nothing is."""
        if self.image.layer() is None:
            return "Choose the image that changes."
        if self.image.layer() == self.labels.layer():
            return "The image and the labels are the same layer: leave the labels empty, or choose another one."
        if self.model.count() == 0:
            return "There is no model that draws change yet: get one on the Models page."
        return self.events.problem() or self.extent.problem()

    def parameters(self) -> dict[str, Any]:
        """Parameters of `changen2:synthesizechange`, without the output folder."""
        self.steps.interpretText()  # what has been typed counts, also before the focus leaves
        self.seed.number.interpretText()
        parameters: dict[str, Any] = {
            "IMAGE": self.image.layer(),
            **self.events.parameters(),
            **self.extent.parameters(),
            **self.dates.parameters(),
            "MODEL": self.model.currentData(),
            "DEVICE": self.device.currentData(),
            "QUALITY": self.quality.currentData(),
            "SAMPLER": self.sampler.currentData(),
            "INIT": self.start.currentData(),
            "SEED": self.seed.seed(),
        }
        if self.labels.layer() is not None:
            parameters["LABELS"] = self.labels.layer()
        if self.steps.value() > 0:
            parameters["STEPS"] = self.steps.value()
        if self.bands.bands():
            parameters["BANDS"] = self.bands.bands()
        if self.resolution.isEnabled() and self.resolution.value() > 0:
            parameters["RENDER_RESOLUTION"] = round(self.resolution.value(), 2)
        return parameters

    def set_sampling_steps(self, steps: int) -> None:
        """Choose the quality that comes nearest to a number of diffusion steps."""
        choose(self.quality, min(STEPS_OF, key=lambda name: abs(STEPS_OF[name] - steps)))

    def simulation(self, folder: Path) -> dict[str, Any]:
        """Parameters of `changen2:simulateevents` for the events that would be simulated.

        Args:
            folder: takes the table of the model's classes, which the run takes where the labels name none.
        """
        labels = self.labels.layer()
        parameters: dict[str, Any] = {
            "SIMULATE": self.events.simulated(),
            "STEPS": max(1, self.steps.value()),
            "SEED": self.seed.seed(),
        }
        if labels is None:
            bands = {"BANDS": self.bands.bands()} if self.bands.bands() else {}
            return {**parameters, "IMAGE": self.image.layer(), **bands}
        if not classes_of(labels):
            parameters["CLASSES"] = write_class_table(self._known_classes(), folder / "classes.csv")
        return {**parameters, "LABELS": labels}

    # What follows what

    def _follow_image(self) -> None:
        image = self.image.layer()
        self.bands.set_layer(image)
        self.resolution.setEnabled(image is not None and image.isValid() and not has_own_pixels(image))
        self.events.set_image(image)

    def _follow_labels(self) -> None:
        self.events.set_labels(self.labels.layer())
        self._offer_classes()

    def _follow_model(self) -> None:
        self.model.show_card()
        self._offer_classes()

    def _offer_classes(self) -> None:
        """Those that the labels name, else those that the model knows."""
        classes = classes_of(self.labels.layer()) or self._known_classes()
        if classes:
            self.events.set_classes(classes)

    def _known_classes(self) -> list[dict[str, Any]]:
        return [entry for entry in self.model.card().get("classes", ()) if entry["name"] != CONTOUR]

    def _follow_source(self) -> None:
        """Drawn events say themselves how many steps there are."""
        simulates = self.events.way.currentIndex() == SIMULATE
        if simulates == (self.steps.minimum() == 1):
            return
        if not simulates:
            self._simulated_steps = self.steps.value()
        self.steps.setMinimum(1 if simulates else 0)
        self.steps.setSpecialValueText("" if simulates else "as drawn")
        self.steps.setValue(self._simulated_steps if simulates else 0)


def _can_draw(card: dict[str, Any]) -> bool:
    return card.get("task") == "synthesize" and card.get("installed", True) and not card.get("training_start")
