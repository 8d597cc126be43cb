"""Models of the model designer that come with the plugin, among its algorithms."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingModelAlgorithm
from qgis.PyQt.QtGui import QIcon

from ..icons import own_icon
from ..paths import resources_dir


def shipped_models() -> list[Path]:
    """The model files that come with the plugin."""
    return sorted((resources_dir() / "models").glob("*.model3"))


class ShippedModel(QgsProcessingModelAlgorithm):
    """A model file as an algorithm; its id is the file's name without underscores.

    Args:
        path: of the file. It names algorithms of this provider, which must be registered by then.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if not self.fromFile(str(path)):
            raise OSError(f"{path} is no model that this version of QGIS can read. Install the plugin again.")

    def createInstance(self) -> ShippedModel:
        """A fresh one for each run."""
        return type(self)(self._path)

    def name(self) -> str:
        """The part of the id after the colon."""
        return self._path.stem.replace("_", "")

    def icon(self) -> QIcon:
        """The plugin's icon."""
        return own_icon("changen2")
