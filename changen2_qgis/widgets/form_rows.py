"""Rows of a form, and lists in them, as all pages have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qgis.PyQt.QtCore import QSignalBlocker
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QWidget

from ..worker_client import Hello


def new_form() -> QFormLayout:
    """An empty form whose controls take the width there is."""
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


def label_for(text: str, control: QWidget) -> QLabel:
    """A label that leads to its control by keyboard and screen reader."""
    label = QLabel(text)
    label.setBuddy(control.focusProxy() or control)
    return label


def list_of(tip: str, parent: QWidget) -> QComboBox:
    """A list that shrinks with a narrow dock."""
    control = QComboBox(parent)
    control.setToolTip(tip)
    control.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return control


def fill(control: QComboBox, items: Iterable[tuple[str, str]]) -> None:
    """Offer other items, text and value of each, without a signal for each."""
    blocker = QSignalBlocker(control)
    control.clear()
    for text, value in items:
        control.addItem(text, value)
    blocker.unblock()


def choose(control: QComboBox, value: Any) -> None:
    """Choose the item of a value; the first where there is none."""
    control.setCurrentIndex(max(0, control.findData(value)))


def offer_devices(control: QComboBox, hello: Hello, chosen: str) -> None:
    """Offer the devices that the backend has, its own choice first."""
    best = hello.devices[0]["label"] if hello.devices else "processor"
    devices = [(device["label"], device["name"]) for device in hello.devices]
    fill(control, [(f"Automatic: {best}", "auto"), *devices])
    choose(control, chosen)
