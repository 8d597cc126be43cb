"""Import a published model from a file, agree to its licence, and look for change of land cover with it."""

import os
import sys

sys.path.insert(0, os.environ["CHANGEN2_E2E"])

from drive import OUT, PLUGIN, click, dock, look_at, main, map_picture, messages, picture, press, wait_until
from qgis.core import QgsProject, QgsRectangle
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtWidgets import QApplication, QFileDialog, QMessageBox, QPushButton
from qgis.utils import plugins

PROJECT = QgsProject.instance()
TITLE = "ChangeStar ViT-B: land cover"
SIDE = 200
"""Pixels across the visible map."""


def agree(report):
    """Answer the question about the licence, once it is there, as a user does."""
    question = QApplication.activeModalWidget()
    if not isinstance(question, QMessageBox):
        QTimer.singleShot(100, lambda: agree(report))
        return
    report["asked"] = question.text() + question.informativeText()
    question.grab().save(str(OUT / "licence.png"))
    (button,) = [button for button in question.findChildren(QPushButton) if button.text() == "I agree"]
    QTimer.singleShot(0, lambda: click(button))


def install(shown, report):
    shown.pages.setCurrentWidget(shown.models)
    wait_until(lambda: shown.models.content is not None and shown.models.content.models.card(), "the models")
    page = shown.models.content
    (item,) = page.models.findItems(TITLE, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)
    page.models.setCurrentItem(item)
    messages()
    map_picture("before_run")
    picture("models")
    # Stands in for the file dialog alone, which is the desktop's own.
    QFileDialog.getOpenFileName = lambda *_: (os.environ["CHANGEN2_E2E_WEIGHTS"], "")
    QTimer.singleShot(100, lambda: agree(report))
    click(page.import_file)
    wait_until(lambda: not page.bar.running, "the import", 300)
    report["messages"] = messages()
    wait_until(lambda: page.models.card().get("installed"), "the new state")
    report["state"] = page.models.currentItem().text(1)
    click(page.verify)
    wait_until(lambda: not page.bar.running, "the check")
    report["verified"] = messages()
    picture("installed")


def detect(shown, report):
    shown.pages.setCurrentWidget(shown.detect)
    page = shown.detect
    report["offered"] = [page.form.model.itemText(row) for row in range(page.form.model.count())]
    page.form.model.setCurrentIndex(page.form.model.findText(TITLE))
    before = page.form.before.layer()
    pixel = before.rasterUnitsPerPixelX()
    look_at(QgsRectangle.fromCenterAndSize(before.extent().center(), SIDE * pixel, SIDE * pixel * 0.8))
    press(page.form.extent.way, Qt.Key.Key_Down)  # from the whole image to the visible map
    wait_until(lambda: " 1 tile," in page.bar.note.text(), "the estimate")
    report["estimate"] = page.bar.note.text()
    click(page.bar.run)
    wait_until(lambda: not page.bar.running, "the result", 240)
    report["messages"] = messages()


def look(report):
    (group,) = [node for node in PROJECT.layerTreeRoot().findGroups() if node.customProperty("changen2/detection")]
    trees = {tree.layer().customProperty("changen2/role"): tree for tree in group.findLayers()}
    for role, tree in trees.items():
        tree.setItemVisibilityChecked(role.startswith("semantic"))
        tree.setExpanded(role == "semantic_after")
    classes = trees["semantic_after"].layer()
    report["roles"] = list(trees)
    report["legend"] = [(label, colour.name()) for label, colour in classes.renderer().legendSymbologyItems()]
    report["source"] = classes.source()
    report["licences"] = {role: tree.layer().metadata().licenses() for role, tree in trees.items()}
    map_picture("classes")
    picture("result")


def scenario(report):
    PROJECT.write(str(OUT / "field.qgz"))
    shown = dock()
    wait_until(lambda: shown.detect.form.after.layer() is not None, "the two images")
    for name, step in (("install", install), ("detect", detect)):
        step(shown, report.setdefault(name, {}))
    look(report.setdefault("look", {}))
    plugins[PLUGIN].backend.stop()


main(scenario)
