"""Use any polygon layer as change events: say which of its fields tell event, class and step."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsFeatureRequest, QgsMapLayerProxyModel, QgsVectorLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import QSignalBlocker, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QSizePolicy, QWidget

from ..widgets.form_rows import label_for, list_of, new_form
from .export import KINDS, EventMapping, FieldOrValue, export_events, usual_mapping
from .layer import usual_class
from .style import EVENTS

__all__ = ["EventMapping", "FieldMapping", "FieldOrValue", "export_events", "usual_mapping"]

FIXED_STEPS = 9
"""Steps offered for all polygons at once; a field can hold any."""

SAMPLE = 2000
"""Features looked at before a run; the export looks at all."""


class FieldMapping(QWidget):
    """A polygon layer and three lists: each offers one value for all polygons, then the layer's fields.

    Signals:
        changed: `layer`, `mapping` or `problem` may have changed.
    """

    changed = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._classes: list[dict[str, Any]] = []
        self._followed: set[str] = set()
        # What `_unreadable` said of a layer and field; reading from a server takes time.
        self._known: dict[tuple[str, str], str] = {}
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.changed)
        self.polygons = QgsMapLayerComboBox(self)
        self.polygons.setFilters(QgsMapLayerProxyModel.Filter.PolygonLayer)
        self.polygons.setAllowEmptyLayer(True)
        self.polygons.setLayer(None)
        self.polygons.setToolTip("The layer whose polygons say where something changes; unsaved edits count")
        self.polygons.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.event = list_of("What happens: the same for all polygons, or a field that holds it", self)
        self.to_class = list_of("What they become: one class, or a field with its name or number", self)
        self.step = list_of("When it happens: one step for all polygons, or a field with numbers from 1", self)
        for chosen in (self.event, self.to_class, self.step):
            chosen.currentIndexChanged.connect(self.changed)
        form = new_form()
        form.setContentsMargins(0, 0, 0, 0)
        self.setLayout(form)
        rows = (("Polygons", self.polygons), ("Event", self.event), ("Becomes", self.to_class), ("Step", self.step))
        for text, control in rows:
            form.addRow(label_for(text, control), control)
        self.setFocusProxy(self.polygons)
        self.polygons.layerChanged.connect(self._offer)
        self._offer(None)

    def layer(self) -> QgsVectorLayer | None:
        """The chosen polygon layer."""
        return self.polygons.currentLayer()

    def set_layer(self, layer: QgsVectorLayer | None) -> None:
        """Choose a layer of the project."""
        self.polygons.setLayer(layer)

    def set_classes(self, classes: list[dict[str, Any]]) -> None:
        """Offer these classes, ``{"index", "name", "color"}`` of each; the other choices stay."""
        if classes == self._classes:
            return
        chosen = self.mapping()
        self._classes = list(classes)
        self._fill(chosen)

    def mapping(self) -> EventMapping:
        """How the layer's fields are to be read."""
        lists = (self.event, self.to_class, self.step)
        return EventMapping(*(combo.currentData() or FieldOrValue() for combo in lists))

    def problem(self) -> str:
        """What is missing or cannot be read, as the next step for the user; empty if nothing is."""
        layer = self.layer()
        if layer is None:
            return "Choose the layer with the polygons to change."
        if layer.featureCount() == 0:
            return f"The layer “{layer.name()}” has no polygons. Draw one, or choose another layer."
        event = self.mapping().event
        if not event.field:
            return ""
        key = layer.id(), event.field
        if key not in self._known:
            self._known[key] = _unreadable(layer, event)
        return self._known[key]

    def _offer(self, layer: QgsVectorLayer | None) -> None:
        if layer is not None:
            self._follow(layer)
            self._fill(usual_mapping(layer.fields()))
        else:
            self._fill(EventMapping(FieldOrValue(value="create"), FieldOrValue(), FieldOrValue(value="1")))

    def _fill(self, wanted: EventMapping) -> None:
        """Fill the three lists anew and choose in them."""
        events = [(label, value) for value, label, *_ in EVENTS]
        classes = [(str(entry["name"]), str(entry["name"])) for entry in self._classes]
        steps = [(str(number), str(number)) for number in range(1, FIXED_STEPS + 1)]
        usual = FieldOrValue(value=usual_class(self._classes, "create") or "")
        for combo, choices, source in (
            (self.event, events, wanted.event),
            (self.to_class, classes, wanted.to_class),
            (self.step, steps, wanted.step),
        ):
            blocker = QSignalBlocker(combo)
            self._fill_list(combo, choices)
            at = self._find(combo, source)
            if at < 0:
                at = self._find(combo, usual)
            combo.setCurrentIndex(max(0, at) if combo.count() else -1)
            combo.setEnabled(self.layer() is not None)
            blocker.unblock()
        self.changed.emit()

    def _fill_list(self, combo: QComboBox, choices: list[tuple[str, str]]) -> None:
        combo.clear()
        for text, value in choices:
            combo.addItem(text, FieldOrValue(value=value))
        layer = self.layer()
        fields = [field.name() for field in layer.fields()] if layer is not None else []
        if choices and fields:
            combo.insertSeparator(combo.count())
        for name in fields:
            combo.addItem(f"from field {name}", FieldOrValue(field=name))

    @staticmethod
    def _find(combo: QComboBox, source: FieldOrValue) -> int:
        found = (index for index in range(combo.count()) if combo.itemData(index) == source)
        return next(found, -1)

    def _follow(self, layer: QgsVectorLayer) -> None:
        """Take up what is drawn in the layer and what fields it gets, from its first choice on."""
        if layer.id() in self._followed:
            return
        self._followed.add(layer.id())
        edits = (layer.featureAdded, layer.featureDeleted, layer.attributeValueChanged, layer.afterRollBack)
        for signal in (*edits, layer.dataChanged, layer.subsetStringChanged):
            signal.connect(self._edited)
        layer.updatedFields.connect(self._fields_changed)

    def _edited(self, *_: object) -> None:
        self._known.clear()
        self._soon.start()  # once for many features

    def _fields_changed(self) -> None:
        self._known.clear()
        self._fill(self.mapping())


def _unreadable(layer: QgsVectorLayer, event: FieldOrValue) -> str:
    """What a field says that is no event, and the next step; empty if it can be read."""
    request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry).setLimit(SAMPLE)
    request.setSubsetOfAttributes([event.field], layer.fields())
    for feature in layer.getFeatures(request):
        word = event.of(feature)
        if word.casefold() not in KINDS:
            said = f"“{word}”" if word else "nothing"
            return (
                f"The field {event.field} says {said} where {', '.join(KINDS[:-1])} or {KINDS[-1]} is meant. "
                "Choose another field, or one event for all polygons."
            )
    return ""
