"""The licence of a model's weights, carried on in the metadata of the layers that it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import QgsMapLayer


def carry_licence(layer: QgsMapLayer, folder: str | Path) -> None:
    """Write the licence and the rights of a result into its layer's metadata, where it binds whoever uses them.

    Args:
        layer: of a result; its metadata are saved with the project.
        folder: of the run, with the ``manifest.json`` that names the model. Without one nothing is written.
    """
    model = _model_of(Path(folder))
    if not model.get("noncommercial"):
        return
    metadata = layer.metadata()
    metadata.setLicenses([model["licence"]])
    metadata.setRights(
        [
            f"Made with {model.get('title') or model['name']}, whose weights are under {model['licence']}: "
            "not for commercial use, and the authors of the model are to be named."
        ]
    )
    layer.setMetadata(metadata)


def _model_of(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf8"))
    except (OSError, ValueError):  # results from elsewhere have none
        return {}
    model = manifest.get("model") if isinstance(manifest, dict) else None
    return model if isinstance(model, dict) else {}
