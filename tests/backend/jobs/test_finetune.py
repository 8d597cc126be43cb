"""Fine-tuning in miniature: from pairs or drawn changes to a model that is listed and detects."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image

from changen2.errors import Cancelled, InputError
from changen2.jobs.detect import detect
from changen2.jobs.finetune import finetune_model
from changen2.jobs.models import list_models, verify
from changen2.models.registry import card_of

SHORT = {"steps": 2, "batch_size": 2, "crop_size": 64, "threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A models' folder of the test's own."""
    monkeypatch.setenv("CHANGEN2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def pairs(tmp_path):
    """Five pairs of noise on which a dark square appears."""
    random = np.random.default_rng(0)
    root = tmp_path / "pairs"
    for layer in ("A", "B", "label"):
        (root / layer).mkdir(parents=True)
    for number in range(5):
        before = random.integers(90, 140, (96, 96, 3)).astype(np.uint8)
        label = np.zeros((96, 96), np.uint8)
        label[20:50, 30:70] = 255
        after = np.where(label[..., None] > 0, 30, before).astype(np.uint8)
        for layer, values in (("A", before), ("B", after), ("label", label)):
            Image.fromarray(values).save(root / layer / f"tank_{number}.png")
    return root


def test_a_folder_of_pairs_becomes_a_model_that_detects(pairs, tmp_path, folder):
    stages = []
    made = finetune_model(
        "tanks",
        tmp_path / "run",
        pairs=pairs,
        gsd=0.5,
        kind="oil tanks",
        on_progress=lambda p: stages.append(p.stage),
        **SHORT,
    )
    assert {"read", "train", "measure"} <= set(stages)
    assert made["summary"]["pairs"] == 4 and made["summary"]["held_out_pairs"] == 1
    assert "Only 5 of 5 pairs" in made["warnings"][0]
    about = next(model for model in list_models() if model["name"] == "tanks")
    assert about["installed"] and not about["embedded"] and about["licence"] == card_of("tiny").licence
    assert [item["name"] for item in about["classes"]] == ["background", "oil tanks"]
    assert about["calibration"]["ece"] >= 0 and about["gsd_native"] == 0.5 and about["credits"]
    assert verify("tanks")["path"] == str(folder / "tanks.safetensors")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["began_with"]["name"] == "tiny" and manifest["model"]["sha256"] == about["sha256"]
    dates = [tmp_path / f"{name}.tif" for name in "ab"]
    for path, layer in zip(dates, "AB", strict=True):
        with rasterio.open(path, "w", driver="GTiff", width=96, height=96, count=3, dtype="uint8") as target:
            target.write(np.moveaxis(np.asarray(Image.open(pairs / layer / "tank_0.png")), -1, 0))
    found = detect(*dates, tmp_path / "found", model="tanks", threads=1, device="cpu")
    assert found["summary"]["model"] == "tanks" and found["summary"]["threshold"] == about["threshold"]
    assert about["threshold"] == pytest.approx(made["summary"]["threshold"], abs=5e-4)


def test_two_rasters_and_drawn_changes(pair, tmp_path):
    boxes = [shapely.box(500_075, 5_199_920, 500_115, 5_199_950), shapely.box(500_010, 5_199_960, 500_030, 5_199_990)]
    pyogrio.raw.write(
        tmp_path / "changes.gpkg", np.array([shapely.to_wkb(box) for box in boxes], object), field_data=[], fields=[],
        geometry_type="Polygon", crs="EPSG:32633",
    )  # fmt: skip
    made = finetune_model(
        "squares", tmp_path / "run", before=pair[0], after=pair[1], changes=tmp_path / "changes.gpkg", **SHORT
    )
    card = card_of("squares")
    assert made["summary"]["gsd_m"] == card.gsd_native == 0.5
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["inputs"]["before"]["crs"] == "EPSG:32633"


def test_a_cancelled_run_goes_on_and_only_as_it_was_asked_for(pairs, tmp_path):
    def cancelled_in(stage):
        seen = []
        wish = {"on_progress": lambda p: seen.append(p.stage), "is_cancelled": lambda: stage in seen}
        with pytest.raises(Cancelled):
            finetune_model("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **{**SHORT, "steps": 40}, **wish)

    cancelled_in("train")
    assert not (tmp_path / "run" / "manifest.json").exists()
    with pytest.raises(InputError, match="unfinished run"):
        finetune_model("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **SHORT)
    with pytest.raises(InputError, match="other values of steps"):
        finetune_model("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, resume=True, **SHORT)
    anew = finetune_model("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, overwrite=True, **SHORT)
    assert anew["summary"]["steps"] == 2


def test_names_that_are_taken_or_no_names_are_refused(pairs, tmp_path):
    given = {"pairs": pairs, "gsd": 0.5, **SHORT}
    for name, code in (("tiny", "name_taken"), ("../tanks", "bad_name"), ("changestar-vitb-s1c1", "name_taken")):
        with pytest.raises(InputError) as caught:
            finetune_model(name, tmp_path / "run", **given)
        assert caught.value.code == code and not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["pairs", "after"])
def test_what_is_missing_is_named(pairs, tmp_path, missing):
    given = {"pairs": {}, "after": {"before": "a.tif", "changes": "c.gpkg"}}[missing]
    with pytest.raises(InputError, match="after is missing" if given else "folder of pairs"):
        finetune_model("tanks", tmp_path / "run", **given, **SHORT)
    assert not (tmp_path / "run").exists()


def test_pairs_without_change_teach_nothing(pairs, tmp_path):
    for path in (pairs / "label").iterdir():
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    with pytest.raises(InputError, match="none of these holds a change"):
        finetune_model("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **SHORT)
