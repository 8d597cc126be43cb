"""The plugin's settings, typed, kept by QGIS under ``changen2/``."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from qgis.core import QgsSettings

PREFIX = "changen2/"

T = TypeVar("T", str, int, float, bool)


class Setting(Generic[T]):
    """One value in QGIS's settings, named after the attribute; reads give the default's type.

    Args:
        default: given where nothing is stored or what is stored cannot be read as this type.
    """

    def __init__(self, default: T) -> None:
        self.default: T = default
        self.key = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = PREFIX + name

    def __get__(self, instance: Any, owner: type) -> T:
        try:
            return QgsSettings().value(self.key, self.default, type=type(self.default))
        except TypeError:  # someone wrote text where a number belongs
            return self.default

    def __set__(self, instance: Any, value: T) -> None:
        if not isinstance(value, type(self.default)):
            raise TypeError(f"{self.key} takes {type(self.default).__name__}, not {value!r}.")
        QgsSettings().setValue(self.key, value)


class Settings:
    """Reads and writes go straight to QGIS's settings; instances hold nothing."""

    backend_python = Setting("")
    """Interpreter of an environment with the backend; empty: found or built by the plugin."""

    base_python = Setting("")
    """Interpreter that the plugin's own environment is built on; empty: the best one found."""

    torch_index = Setting("https://download.pytorch.org/whl/{build}")
    """Where wheels of PyTorch come from; ``{build}`` becomes cpu, cu126, ...; empty: pip's own index."""

    model = Setting("tiny")
    device = Setting("auto")

    generator = Setting("tiny")
    """The model that draws change."""

    known_models = Setting("")
    """What `KnownModels` remembers, as JSON; empty: nothing yet."""

    quality = Setting("good")
    """Of drawn change; one of the algorithm's QUALITIES."""

    idle_minutes = Setting(5)
    """The backend is stopped after so many minutes without a job."""

    render_megapixels = Setting(100)
    """The largest picture rendered from a web map or virtual layer, in millions of pixels."""

    def reset(self) -> None:
        """Forget everything stored."""
        QgsSettings().remove(PREFIX.rstrip("/"))
