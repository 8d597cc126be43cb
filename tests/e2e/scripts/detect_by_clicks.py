"""From two GeoTIFFs on QGIS's command line to a reviewed result, by clicks and keys alone."""

import os
import signal
import sys

sys.path.insert(0, os.environ["CHANGEN2_E2E"])

from drive import OUT, PLUGIN, click, dock, main, map_picture, messages, picture, press, wait_until
from qgis.core import QgsProject
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox
from qgis.utils import iface, plugins, unloadPlugin

PROJECT = QgsProject.instance()


def groups():
    return [node for node in PROJECT.layerTreeRoot().findGroups() if node.customProperty("changen2/detection")]


def layer(group, role):
    return next(t.layer() for t in group.findLayers() if t.layer().customProperty("changen2/role") == role)


def run_folders():
    folder = OUT / "Changen2 runs"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def detect(page, report):
    stages = []
    page.bar.note.text()
    wait_until(lambda: "tile" in page.bar.note.text(), "the estimate")
    report["estimate"] = page.bar.note.text()
    map_picture("before_run")
    click(page.bar.run)
    while page.bar.running:
        stages.append(page.bar.note.text())
        wait_until(lambda: not page.bar.running or page.bar.note.text() != stages[-1], "progress")
    report["stages"] = stages
    wait_until(groups, "the result")
    group = groups()[0]
    report["messages"] = messages()
    report["group"] = group.name()
    report["layers"] = [
        (t.name(), t.isVisible(), t.layer().customProperty("changen2/role")) for t in group.findLayers()
    ]
    report["valid"] = all(t.layer().isValid() for t in group.findLayers())
    report["polygons"] = layer(group, "polygons").featureCount()
    report["run_folders"] = run_folders()
    report["files"] = sorted(p.name for p in (OUT / "Changen2 runs" / run_folders()[0]).iterdir())
    map_picture("result")
    picture("window")


def cut_off(page):
    """Controls that a user cannot see in full."""
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox)
    seen = [child for kind in kinds for child in page.findChildren(kind) if child.isVisible()]
    return [child.toolTip() for child in seen if child.visibleRegion().boundingRect().size() != child.size()]


def move_threshold(page, report):
    group = groups()[0]
    polygons = layer(group, "polygons").source()
    press(page.results.threshold.slider, Qt.Key.Key_PageUp, 6)  # from 0.5 to 0.8
    map_picture("higher_threshold")
    report["shown"] = page.results.threshold.value()
    report["polygons_kept_until_applied"] = layer(group, "polygons").source() == polygons
    runs = run_folders()
    click(page.results.threshold.apply)
    wait_until(lambda: not page.bar.running, "the new polygons")
    group = groups()[0]
    report["source_changed"] = layer(group, "polygons").source() != polygons
    report["source"] = layer(group, "polygons").source()
    report["polygons"] = layer(group, "polygons").featureCount()
    report["group"] = group.name()
    report["no_new_run"] = run_folders() == runs
    report["messages"] = messages()


def review(page, report):
    polygons = layer(groups()[0], "polygons")
    bar = page.results.review
    before = iface.mapCanvas().extent()
    click(bar.next)
    report["position"] = bar.position.text()
    report["zoomed"] = iface.mapCanvas().extent() != before
    first = max(polygons.getFeatures(), key=lambda feature: (feature["area_px"], -feature.id())).id()
    click(bar.confirm)
    report["position_after"] = bar.position.text()
    click(bar.reject)
    report["first"] = polygons.getFeature(first)["review"]
    report["reviewed"] = sorted(feature["review"] for feature in polygons.getFeatures())[:2]
    map_picture("review")
    picture("reviewing")


def run_until_progress(page):
    """Start a run and return when the backend computes."""
    click(page.bar.run)
    wait_until(lambda: page.bar.note.text().startswith("Looking for change"), "the model at work")


def cancel(page, report):
    count, runs = len(groups()), run_folders()
    run_until_progress(page)
    click(page.bar.cancel)
    wait_until(lambda: not page.bar.running, "the end of the cancelled run", 15)
    report["messages"] = messages()
    report["no_group"] = len(groups()) == count
    report["new_folders"] = [name for name in run_folders() if name not in runs]


def kill_worker(page, report):
    count = len(groups())
    run_until_progress(page)
    os.kill(plugins[PLUGIN].backend.pid, signal.SIGKILL)
    wait_until(lambda: not page.bar.running, "the end of the killed run", 40)
    report["messages"] = messages()
    report["no_group"] = len(groups()) == count
    click(page.bar.run)
    wait_until(lambda: len(groups()) == count + 1 and not page.bar.running, "a run with a new worker")
    report["runs_again"] = True


def reopen(report):
    PROJECT.write()
    PROJECT.clear()
    PROJECT.read(str(OUT / "town.qgz"))
    report["valid"] = bool(PROJECT.mapLayers()) and all(each.isValid() for each in PROJECT.mapLayers().values())
    report["groups"] = [group.name() for group in groups()]
    report["threshold"] = float(groups()[-1].customProperty("changen2/threshold"))


def unload(report):
    pid = plugins[PLUGIN].backend.pid
    report["pid"] = pid
    unloadPlugin(PLUGIN)
    try:
        os.kill(pid, 0)
        report["worker_left"] = True
    except ProcessLookupError:
        report["worker_left"] = False


def scenario(report):
    PROJECT.write(str(OUT / "town.qgz"))
    shown = dock()
    page = shown.detect
    wait_until(lambda: page.form.after.layer() is not None, "the two images")
    report["chosen"] = [page.form.before.layer().name(), page.form.after.layer().name()]
    for name, step in (("detect", detect), ("threshold", move_threshold), ("review", review)):
        step(page, report.setdefault(name, {}))
    report["cut_off"] = cut_off(page)
    report["dock_width"] = shown.width()
    for name, step in (("cancel", cancel), ("killed", kill_worker)):
        step(page, report.setdefault(name, {}))
    reopen(report.setdefault("reopened", {}))
    unload(report.setdefault("unload", {}))


main(scenario)
