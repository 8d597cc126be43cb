"""What the QGIS plugin repository checks of an upload."""

import configparser
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIRED = (
    "name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository",
    "homepage",
)  # fmt: skip


@pytest.fixture(scope="module")
def package():
    subprocess.run(["make", "package"], cwd=ROOT, check=True, capture_output=True)
    return next((ROOT / "build").glob("changen2_qgis-*.zip"))


def test_the_zip_is_one_folder_of_allowed_size(package):
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    assert package.stat().st_size < 25_000_000
    assert {name.split("/")[0] for name in names} == {"changen2_qgis"}
    for wanted in ("__init__.py", "LICENSE", "metadata.txt", "backend/pyproject.toml", "resources/icons/changen2.svg"):
        assert f"changen2_qgis/{wanted}" in names
    assert any(name.endswith("weights/tiny.safetensors") for name in names)
    forbidden = (".pyc", "__pycache__", ".git/", "..", "resources_rc.py", "/ui_", "egg-info")
    assert not [name for name in names if any(part in name for part in forbidden)]


def test_deploying_replaces_a_link_and_no_installed_plugin(tmp_path):
    deploy = ["make", "deploy", f"HOME={tmp_path}"]
    for _ in range(2):
        subprocess.run(deploy, cwd=ROOT, check=True, capture_output=True)
    (link,) = tmp_path.rglob("changen2_qgis")
    assert link.readlink() == ROOT / "build" / "changen2_qgis"
    link.unlink()
    link.mkdir()
    refused = subprocess.run(deploy, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode and "uninstall the plugin" in refused.stdout and not list(link.iterdir())


def test_the_metadata_is_complete():
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "metadata.txt", encoding="utf8")  # a bare % would not parse
    general = metadata["general"]
    assert all(general.get(name) for name in REQUIRED)
    assert general["qgisMinimumVersion"] == "3.22"
    assert (ROOT / general["icon"]).exists()


def test_the_weights_are_small_and_their_cards_tell_their_digest():
    import hashlib
    import json

    folder = ROOT / "backend/changen2/weights"
    weights = list(folder.glob("*.safetensors"))
    assert weights and sum(path.stat().st_size for path in weights) <= 20_000_000
    for path in weights:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]
        assert card["size_bytes"] == path.stat().st_size and card["licence"]
