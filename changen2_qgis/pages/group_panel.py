"""What the panels of results have in common: a choice among the result groups of the project."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QTimer, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices
from qgis.PyQt.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ..icons import own_icon, qgis_icon
from ..widgets.tool_button import tool_button


class GroupPanel(QWidget):
    """Follows the project: hidden without results, and the newest result is chosen first.

    Subclasses say which groups they show (`groups`) and what to do with the chosen one (`show_current`); a group
    has `id`, `name` and `folder`.

    Signals:
        swipe_clicked: the images of the chosen result are to be compared on the canvas.
        refused: something could not be done; carries the message.
    """

    swipe_clicked = pyqtSignal()
    refused = pyqtSignal(str)

    def __init__(self, title: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = QComboBox(self)
        self.choice.setToolTip(tip)
        self.choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        compare = "Compare the images before and after with a divider (keys , and .)"
        self.swipe = tool_button(self, own_icon("swipe"), compare)
        self.swipe.setCheckable(True)
        self.open_folder = tool_button(self, qgis_icon("mActionFolder"), "Open the run folder with all its files")
        label = QLabel(title, self)
        label.setBuddy(self.choice)
        rule = QFrame(self)
        rule.setFrameShape(QFrame.Shape.HLine)
        rule.setFrameShadow(QFrame.Shadow.Sunken)
        top = QHBoxLayout()
        top.addWidget(label)
        top.addWidget(self.choice, 1)
        top.addWidget(self.swipe)
        top.addWidget(self.open_folder)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.addWidget(rule)
        self.column.addLayout(top)
        self._later = QTimer(self)  # many layers come and go at once; look once afterwards
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)

    def follow_project(self) -> None:
        """Begin to follow the project; to be called once the subclass is complete."""
        self.choice.currentIndexChanged.connect(self.show_current)
        self.open_folder.clicked.connect(self._open_folder)
        self.swipe.clicked.connect(self.swipe_clicked)
        project = QgsProject.instance()
        project.readProject.connect(self.choice.clear)  # read again, it has the same results as they were saved
        for signal in (project.layersAdded, project.layersRemoved, project.readProject, project.cleared):
            signal.connect(self._project_changed)
        project.layerTreeRoot().nameChanged.connect(self._project_changed)
        self.refresh()

    def groups(self) -> list[Any]:
        """The results in the project, from the top of the layer tree down."""
        raise NotImplementedError

    def show_current(self) -> None:
        """Start anew on the chosen result."""
        raise NotImplementedError

    def current(self) -> Any:
        """The chosen result, if it is still in the project."""
        wanted = self.choice.currentData()
        return next((group for group in self.groups() if group.id == wanted), None)

    def refresh(self, newest: bool = False) -> None:
        """Read the results from the project; keep the chosen one unless the newest is wanted."""
        groups = self.groups()
        before = self.choice.currentData()
        self.choice.blockSignals(True)
        self.choice.clear()
        for group in groups:
            self.choice.addItem(group.name, group.id)
        kept = self.choice.findData(before)
        self.choice.setCurrentIndex(kept if kept >= 0 and not newest else 0)
        self.choice.blockSignals(False)
        self.setVisible(bool(groups))
        if newest or self.choice.currentData() != before:
            self.show_current()

    def _project_changed(self, *_: Any) -> None:
        self._later.start(0)

    def _open_folder(self) -> None:
        group = self.current()
        if group is not None:
            problem = open_folder(group.folder)
            if problem:
                self.refused.emit(problem)


def open_folder(folder: str) -> str:
    """Show a folder in the system's own program.

    Returns:
        Why it could not be, as a message for the user; empty if it was.
    """
    if QDesktopServices.openUrl(QUrl.fromLocalFile(folder)):
        return ""
    return f"No program opens folders here. The files are in {folder}."
