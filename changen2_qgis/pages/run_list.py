"""The runs of a project: put one back on the map, open its folder, run again with its settings, or do its rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsLayerTreeGroup, QgsProject
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..errors import InputError
from ..icons import own_icon, qgis_icon
from ..layer_metadata import read_manifest
from ..results import DetectionGroup, add_run_folder, detection_groups, ogr_source
from ..run_folders import FORMS, Run, can_go_on, drawn_points, find_runs, is_unfinished, read_run, runs_folder
from ..series_results import add_series_group, series_groups
from ..widgets.tool_button import tool_button
from .group_panel import open_folder

KINDS = {
    # kind of run: (title of its group, icon)
    "detect": ("Change", "detect"),
    "synthesize": ("Synthesis", "synthesize"),
    "simulate": ("Simulation", "synthesize"),
}


class RunList(QWidget):
    """A list of runs beside the project, those on the map included; the newest is on top.

    Signals:
        added: a run was put on the map; carries its kind.
        run_again: a page is to be filled with the settings of a `Run`.
        go_on: the rest of an unfinished `Run` is to be done.
        refused: something could not be done; carries the message.
    """

    added = pyqtSignal(str)
    run_again = pyqtSignal(object)
    go_on = pyqtSignal(object)
    refused = pyqtSignal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list = QTreeWidget(self)
        self.add = QPushButton(qgis_icon("mActionAddLayer"), "Add to map", self)
        self.add.setToolTip("Add the results of this run to the project as a group of layers")
        self.rest = QPushButton(qgis_icon("mActionStart"), "Continue", self)
        self.again = QPushButton(qgis_icon("mActionRefresh"), "Run again", self)
        self.again.setToolTip("Fill the page with the settings of this run; nothing is started yet")
        self.open = tool_button(self, qgis_icon("mActionFolder"), "Open the run folder with all its files")
        self.elsewhere = QPushButton(qgis_icon("mActionFileOpen"), "Add a run folder…", self)
        self.elsewhere.setToolTip("Add the results of a run that lies elsewhere: of the toolbox, a terminal or Python")
        self.empty = QLabel(self)
        self.empty.setWordWrap(True)
        self.empty.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        self.list.setHeaderLabels(["Run", "Date", ""])
        self.list.headerItem().setToolTip(2, "Whether the run is finished")
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setAlternatingRowColors(True)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setAccessibleName("Runs")
        self.list.setToolTip("Double-click a run to add its results to the project")
        header = self.list.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        row = QHBoxLayout()
        row.addWidget(self.add, 1)
        row.addWidget(self.rest, 1)
        row.addWidget(self.again, 1)
        row.addWidget(self.open)
        column = QVBoxLayout(self)
        column.addWidget(self.empty)
        column.addWidget(self.list, 1)
        column.addLayout(row)
        column.addWidget(self.elsewhere)

    def _connect(self) -> None:
        self.list.itemActivated.connect(lambda *_: self._add())
        self.list.currentItemChanged.connect(self._show_possible)
        self.add.clicked.connect(self._add)
        self.rest.clicked.connect(self._go_on)
        self.again.clicked.connect(self._run_again)
        self.open.clicked.connect(self._open)
        self.elsewhere.clicked.connect(self._add_elsewhere)
        project = QgsProject.instance()
        for signal in (project.readProject, project.projectSaved, project.cleared, project.layersAdded):
            signal.connect(self._project_changed)

    def showEvent(self, event: QShowEvent) -> None:
        """Look at the folder anew; runs may have come and gone."""
        self.refresh()
        super().showEvent(event)

    def refresh(self) -> None:
        """Read the runs from their folders; the chosen one stays chosen."""
        project = QgsProject.instance()
        chosen = self.current()
        on_map = [Path(group.folder) for group in detection_groups(project)]
        on_map += [Path(group.folder) for group in series_groups(project)]
        self.list.clear()
        for run in find_runs(runs_folder(project), on_map):
            item = _item_of(run)
            self.list.addTopLevelItem(item)
            if chosen is not None and run.folder == chosen.folder:
                self.list.setCurrentItem(item)
        found = self.list.topLevelItemCount() > 0
        if found and self.list.currentItem() is None:
            self.list.setCurrentItem(self.list.topLevelItem(0))
        self.list.setVisible(found)
        self.empty.setVisible(not found)
        self.empty.setText(f"No runs yet. Each detection and synthesis is kept in a folder in {runs_folder(project)}.")
        self._show_possible()

    def current(self) -> Run | None:
        """The chosen run."""
        item = self.list.currentItem()
        return item.data(0, Qt.ItemDataRole.UserRole) if item is not None else None

    def _project_changed(self, *_: Any) -> None:
        if self.isVisible():  # else it looks when it is shown
            self.refresh()

    def _show_possible(self, *_: Any) -> None:
        run = self.current()
        kind = run.kind if run is not None and run.finished else ""
        unfinished = run is not None and not run.finished
        self.rest.setVisible(unfinished)  # in the place of what only a finished run can
        self.add.setVisible(not unfinished)
        goes_on = run is not None and can_go_on(run)
        self.rest.setEnabled(goes_on)
        self.rest.setToolTip(
            "Do the rest of this run, with the same settings"
            if goes_on
            else "Give the settings and the folder of this run again where it was started, in the toolbox"
        )
        self.add.setEnabled(kind in KINDS)
        self.again.setEnabled(kind in FORMS)
        self.open.setEnabled(run is not None)

    def _add(self) -> None:
        run = self.current()
        if run is not None and self.add.isEnabled():
            self._add_run(run)

    def _add_elsewhere(self) -> None:
        runs = runs_folder(QgsProject.instance())
        start = runs if runs.exists() else Path.home()
        chosen = QFileDialog.getExistingDirectory(self, "Folder of a run", str(start))
        if not chosen:
            return
        run = read_run(Path(chosen))
        problem = _why_not_added(run, Path(chosen))
        if problem:
            self.refused.emit(problem)
        elif run is not None:
            self._add_run(run)

    def _add_run(self, run: Run) -> None:
        try:
            add_run(QgsProject.instance(), run)
        except (OSError, ValueError, KeyError, InputError) as error:
            self.refused.emit(f"{run.folder.name} cannot be added: {error}")
            return
        self.added.emit(run.kind)

    def _run_again(self) -> None:
        run = self.current()
        if run is not None:
            self.run_again.emit(run)

    def _go_on(self) -> None:
        run = self.current()
        if run is not None:
            self.go_on.emit(run)

    def _open(self) -> None:
        run = self.current()
        problem = open_folder(str(run.folder)) if run is not None else ""
        if problem:
            self.refused.emit(problem)


def add_run(project: QgsProject, run: Run) -> QgsLayerTreeGroup:
    """Add the results of a finished run to the project.

    Raises:
        OSError: an output is missing.
        ValueError, KeyError: the manifest is broken.
    """
    title = f"{KINDS[run.kind][0]} {run.began:%Y-%m-%d %H:%M}"
    if run.kind == "detect":
        return _add_detection(project, run, title)
    return add_series_group(project, str(run.folder), title)


def _add_detection(project: QgsProject, run: Run, title: str) -> QgsLayerTreeGroup:
    """Add a detection with the points that were last drawn over it, and their labels."""
    node = add_run_folder(project, str(run.folder), title)
    points = drawn_points(run.folder)
    if points is not None:
        from ..review.sample_points import (  # with numpy, which opening the dock need not wait for
            TABLE,
            add_points,
            drawn_over,
        )

        source = ogr_source(str(points), TABLE)
        if drawn_over(source, read_manifest(run.folder).get("summary", {}).get("valid_px")):
            add_points(DetectionGroup(node), source)
    return node


def _why_not_added(run: Run | None, folder: Path) -> str:
    """Why what is in a folder cannot be put on the map, with the next step; empty where it can."""
    if is_unfinished(folder) and (run is None or not run.finished):
        return f"The run in {folder} is unfinished. Do its rest first: Continue an unfinished run, in the toolbox."
    if run is None:
        return f"{folder} holds no run. Choose the folder that a run wrote its results to; manifest.json is in it."
    if run.kind not in KINDS:
        return f"{folder} holds a run of {run.kind}, which has no maps. Choose that of a detection or a synthesis."
    return ""


def _item_of(run: Run) -> QTreeWidgetItem:
    state, picture = ("finished", own_icon("confirm")) if run.finished else ("unfinished", qgis_icon("mTaskOnHold"))
    item = QTreeWidgetItem([run.name or run.kind, f"{run.began:%Y-%m-%d %H:%M}"])
    item.setData(0, Qt.ItemDataRole.UserRole, run)
    item.setIcon(2, picture)
    item.setData(2, Qt.ItemDataRole.AccessibleTextRole, state)
    title, icon = KINDS.get(run.kind, (run.kind.capitalize(), "changen2"))
    item.setIcon(0, own_icon(icon))
    for column in range(3):
        item.setToolTip(column, f"{title}: {run.name}, {state}\n{run.folder}")
    return item
