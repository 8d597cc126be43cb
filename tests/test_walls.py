"""Who may import whom: nobody imports upwards, QGIS and torch never meet."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BACKEND = ROOT / "backend" / "changen2"
PLUGIN = ROOT / "changen2_qgis"

# Each part of the backend and what it may import beside itself, errors, paths and the standard library.
MAY_IMPORT = {
    "diffusion": set(),
    "models": {"diffusion"},
    "raster": set(),
    "scenes": {"raster"},
    "gpcm": {"diffusion", "models", "raster"},
    "training": {"diffusion", "models", "raster", "gpcm", "scenes"},
    "jobs": {"diffusion", "models", "raster", "gpcm", "training", "scenes", "protocol", "redaction"},
    "reports": {"diffusion", "models", "raster", "gpcm", "training", "scenes", "jobs", "protocol"},
}

# What jobs have in common, and which of it each may import beside itself. None imports a job.
PARTS_MAY_IMPORT = {
    "runs": set(),
    "detection": {"runs"},
    "cluster": {"runs", "detection"},
    "synthesis": {"runs", "detection"},
    "evaluation": {"runs", "detection", "synthesis"},
    "generation": {"runs", "detection", "cluster", "synthesis"},
    "learning": {"runs", "generation"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(folder):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize("path", sources(BACKEND))
def test_the_backend_imports_downwards(path):
    part = path.relative_to(BACKEND).parts[0]
    names = set(imports(path))
    assert not {name for name in names if name.split(".")[0] in {"qgis", "PyQt5", "PyQt6"}}
    if part not in MAY_IMPORT:
        return
    used = {name.split(".")[1] for name in names if name.startswith("changen2.")}
    assert used <= MAY_IMPORT[part] | {part, "errors", "heap", "paths", "__version__", "VERSION"}


@pytest.mark.parametrize("part", sorted(path.parent.name for path in (BACKEND / "jobs").glob("*/__init__.py")))
def test_parts_of_jobs_import_downwards(part):
    paths = (BACKEND / "jobs" / part).rglob("*.py")
    names = {name for path in paths for name in imports(path) if name.startswith("changen2.jobs.")}
    assert {name.split(".")[2] for name in names} <= PARTS_MAY_IMPORT[part] | {part}


@pytest.mark.parametrize("path", sources(BACKEND / "raster") + sources(BACKEND / "scenes"))
def test_rasters_know_no_torch(path):
    assert "torch" not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sources(BACKEND / "models") + sources(BACKEND / "diffusion"))
def test_models_know_no_rasters(path):
    assert not {"rasterio", "pyogrio", "osgeo"} & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sources(PLUGIN))
def test_the_plugin_has_only_what_qgis_ships(path):
    heads = {name.split(".")[0] for name in imports(path)}
    assert not heads & {"torch", "changen2", "rasterio", "pydantic", "PyQt5", "PyQt6"}
    assert "sys.path" not in path.read_text(encoding="utf8")


def test_one_version():
    lines = (ROOT / "metadata.txt").read_text(encoding="utf8").splitlines()
    version = next(line.split("=", 1)[1] for line in lines if line.startswith("version="))
    assert (BACKEND / "VERSION").read_text(encoding="utf8").strip() == version
