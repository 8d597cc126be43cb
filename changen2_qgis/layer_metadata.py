"""What made a layer, in its metadata: readable in QGIS's layer properties and kept in the project file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer

FOLDER = "changen2/folder"
"""Property of a group that is a result, or of a layer that the toolbox has loaded: its run folder when it was added."""

_TOLD = ("seed", "steps", "events", "simulate", "threshold", "sampler", "sampling_steps", "init", "gsd", "bounds")
"""Parameters worth a word; the manifest has all of them."""


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        OSError: there is none.
        ValueError: it is broken.
    """
    manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf8"))
    if not isinstance(manifest, dict):
        raise ValueError(f"{Path(folder) / 'manifest.json'} holds no manifest.")
    return manifest


def carry_manifest(layer: QgsMapLayer, folder: str | Path, abstract: str = "") -> None:
    """Write into a layer's metadata how it was made, and the licence of the model's weights where it binds.

    Args:
        layer: of a result.
        folder: of the run; without a manifest in it nothing is written.
        abstract: what the layer shows, in a sentence or two.
    """
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError):  # results from elsewhere have none
        return
    metadata = layer.metadata()
    metadata.setTitle(layer.name())
    metadata.setType("dataset")
    metadata.setAbstract(abstract or _made_from(manifest))
    metadata.setHistory([_how(manifest)])
    model = manifest.get("model") or {}
    if model.get("noncommercial"):
        metadata.setLicenses([model["licence"]])
        metadata.setRights(
            [
                f"Made with {model.get('title') or model['name']}, whose weights are under {model['licence']}: "
                "not for commercial use, and the authors of the model are to be named."
            ]
        )
    layer.setMetadata(metadata)


def carry_run(layer: QgsMapLayer, folder: str | Path) -> None:
    """Let a layer that stands alone, as the toolbox loads it, tell how it was made and in which folder its run is."""
    carry_manifest(layer, folder)
    layer.setCustomProperty(FOLDER, str(folder))


def _made_from(manifest: dict[str, Any]) -> str:
    inputs = [given for name, given in manifest.get("inputs", {}).items() if name not in ("aoi", "events", "instances")]
    names = [os.path.basename(str(given.get("path", ""))) for given in inputs]
    return f"Result of {manifest.get('job', 'a job')} by Changen2, from {' and '.join(names) or 'unknown images'}."


def _how(manifest: dict[str, Any]) -> str:
    """One line: when, what, with which model, how."""
    model = manifest.get("model") or {}
    parameters = manifest.get("parameters") or {}
    parts = [
        f"{str(manifest.get('began', ''))[:19]}: {manifest.get('job', '')} by Changen2 "
        f"{(manifest.get('versions') or {}).get('changen2', '')}".strip(),
        f"model {model['name']} (sha256 {str(model.get('sha256'))[:12]}…)" if model.get("name") else "",
        *(f"{name.replace('_', ' ')} {parameters[name]}" for name in _TOLD if parameters.get(name) not in (None, "")),
        f"on {manifest['device']}" if manifest.get("device") else "",
    ]
    return ", ".join(part for part in parts if part)
