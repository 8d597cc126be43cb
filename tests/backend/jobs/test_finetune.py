"""Fine-tuning in miniature: from pairs or drawn changes to a model that is listed and detects."""

import json
import warnings

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from PIL import Image
from typer.testing import CliRunner

from changen2.cli.commands import app
from changen2.errors import Cancelled, InputError
from changen2.jobs.detect import detect
from changen2.jobs.detection.calibrated import written_threshold
from changen2.jobs.finetune import finetune
from changen2.jobs.learning import material
from changen2.jobs.models import list_models, verify
from changen2.jobs.runs.progress import Reporter
from changen2.models import store
from changen2.models.catalogue import CATALOGUE
from changen2.models.changestar import ChangeStar
from changen2.models.published import CHANGESTAR_KINDS
from changen2.models.registry import card_of, cards, load_model
from changen2.models.sam_vit import VIT_SIZES, ViTConfig
from changen2.protocol import FinetuneRequest, validate
from changen2.raster.calibration import f1_by_threshold, settled_threshold
from changen2.training.finetune import FEW, judge
from changen2.training.places import read_pairs

SHORT = {"steps": 2, "batch_size": 2, "crop_size": 64, "threads": 1, "device": "cpu"}

pytestmark = pytest.mark.usefixtures("models_folder")


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


def detect_on(pairs, tmp_path, model):
    """Detect on the first pair, as rasters."""
    dates = [tmp_path / f"{name}.tif" for name in "ab"]
    for path, layer in zip(dates, "AB", strict=True):
        with rasterio.open(path, "w", driver="GTiff", width=96, height=96, count=3, dtype="uint8") as target:
            target.write(np.moveaxis(np.asarray(Image.open(pairs / layer / "tank_0.png")), -1, 0))
    return detect(*dates, tmp_path / "found", model=model, threads=1, device="cpu")


def read_material(root, **options):
    request = validate(FinetuneRequest, {"name": "x", "out_dir": "x", "pairs": str(root), "gsd": 0.5, **options})
    return material.read_material(request, card_of("tiny"), Reporter())


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a published detector of small size, its weights drawn at random."""
    monkeypatch.setitem(VIT_SIZES, "vitb", ViTConfig(2, 32, 2, (1,)))

    def install(name):
        kind = CHANGESTAR_KINDS[name]
        torch.manual_seed(0)
        state = ChangeStar(VIT_SIZES["vitb"], kind.semantic_classes, kind.change_classes).state_dict()
        if kind.training_start:
            state = {key: value for key, value in state.items() if not key.startswith("head.")}
        torch.save(state, tmp_path / "published.pth")
        store.give_consent(CATALOGUE[name].card)
        store.install(name, tmp_path / "published.pth", "drawn at random")

    return install


EMBEDDED = [name for (task, name), card in cards().items() if task == "detect" and card.embedded]
PUBLISHED = [name for name in CHANGESTAR_KINDS if "vitb" in name]


@pytest.mark.parametrize("start", [*EMBEDDED, *PUBLISHED])
def test_any_detector_is_a_start(start, installed, pairs, tmp_path):
    if start in PUBLISHED:
        installed(start)
    base = cards()["detect", start]
    made = finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, model=start, kind="tank", **SHORT)
    card = card_of("tanks")
    assert card.began_with == {"name": start, "sha256": base.sha256} and not card.change_classes
    assert (card.licence, card.noncommercial) == (base.licence, base.noncommercial)
    anew = bool(base.change_classes)
    assert (made["summary"]["held_out_f1_before"] is None) == (base.training_start or anew)
    assert ("learned anew" in card.summary) == anew == any("learned anew" in text for text in made["warnings"])
    found = detect_on(pairs, tmp_path, "tanks")
    assert found["summary"]["model"] == "tanks" and "change_class" not in found["outputs"]


def drawn_by(folder, job, **model):
    (folder / "manifest.json").write_text(json.dumps({"job": job, "model": {"name": "drawer", "sha256": "", **model}}))


@pytest.mark.parametrize("noncommercial", [True, False])
@pytest.mark.parametrize("job", ["generate", "synthesize"])
def test_the_licence_of_a_generator_binds_what_learned_from_its_images(pairs, pair, tmp_path, job, noncommercial):
    drawn_by(pairs if job == "generate" else tmp_path, job, licence="CC-BY-NC-SA-4.0", noncommercial=noncommercial)
    boxes = (500_075, 5_199_920, 500_115, 5_199_950), (500_010, 5_199_960, 500_030, 5_199_990)
    changes = draw(tmp_path / "changes.gpkg", *boxes, crs="EPSG:32633")
    given = {"pairs": pairs, "gsd": 0.5} if job == "generate" else {"before": pair[0], "after": pair[1]}
    given |= {} if job == "generate" else {"changes": changes}
    made = finetune("mine", tmp_path / "run", **given, **SHORT)
    card, base = card_of("mine"), card_of("tiny")
    assert card.noncommercial == noncommercial and card.licence == (
        "CC-BY-NC-SA-4.0" if noncommercial else base.licence
    )
    assert card.credits == [*base.credits, *(["Images drawn by drawer, CC-BY-NC-SA-4.0"] if noncommercial else [])]
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["model"]
    assert (told["licence"], told["noncommercial"]) == (card.licence, card.noncommercial)
    assert any("not for commercial use" in text for text in made["warnings"]) == noncommercial


def test_a_start_without_heads_gets_the_same_from_the_same_seed(installed, pairs, tmp_path):
    installed("changestar-vitb-s0")
    given = {"pairs": pairs, "gsd": 0.5, "model": "changestar-vitb-s0", **SHORT}
    for name in ("first", "second"):
        finetune(name, tmp_path / name, **given)
        torch.rand(3)
    assert card_of("first").calibration == card_of("second").calibration


@pytest.fixture
def with_classes(pairs):
    """The pairs with semantic maps as ``generate --kind S9`` writes them: 3 before, a tank of 4 after."""
    for layer in ("semantic_A", "semantic_B"):
        (pairs / layer).mkdir()
        for path in (pairs / "label").iterdir():
            changed = np.asarray(Image.open(path)) > 0
            classes = np.where(changed & (layer == "semantic_B"), 4, 3).astype(np.uint8)
            Image.fromarray(classes).save(pairs / layer / path.name)
    return pairs


def test_semantic_maps_of_classes_are_left_out_with_a_word(with_classes, tmp_path):
    made = finetune("tanks", tmp_path / "run", pairs=with_classes, gsd=0.5, **SHORT)
    assert "--object-class" in made["warnings"][0]
    material = read_material(with_classes)
    for pair in material.pairs:
        assert (pair.before.label == 255).all() and (pair.after.label == 255).all()
        assert set(np.unique(pair.change.label)) == {0, 1}


def test_the_class_to_look_for_is_taken_from_the_semantic_maps(with_classes):
    material = read_material(with_classes, object_class=4)
    assert material.warnings == ()
    for pair in material.pairs:
        assert not pair.before.label.any()
        np.testing.assert_array_equal(pair.after.label, pair.change.label)


def test_masks_of_objects_are_learned_from_as_they_are(with_classes):
    for layer in ("semantic_A", "semantic_B"):
        for path in (with_classes / layer).iterdir():
            Image.fromarray(np.where(np.asarray(Image.open(path)) == 4, 255, 0).astype(np.uint8)).save(path)
    material = read_material(with_classes)
    assert material.warnings == ()
    for pair, plain in zip(material.pairs, read_pairs(with_classes, 0.5, every=5), strict=True):
        np.testing.assert_array_equal(pair.after.label, plain.after.label)
        assert pair.after.label.any()


def test_looking_for_classes_can_be_cancelled_at_every_map(with_classes):
    for layer in ("semantic_A", "semantic_B"):
        for path in (with_classes / layer).iterdir():
            Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    asked = []
    assert not material.holds_classes(with_classes, lambda *done: asked.append(done)) and len(asked) >= 10


@pytest.mark.parametrize("numbers", [(0, 1), (0, 255), (1, 255)])
def test_classes_are_told_by_the_manifest_also_where_they_look_like_a_mask(with_classes, numbers):
    for layer in ("semantic_A", "semantic_B"):
        for path in (with_classes / layer).iterdir():
            Image.fromarray(np.where(np.asarray(Image.open(path)) == 4, *numbers).astype(np.uint8)).save(path)
    (with_classes / "manifest.json").write_text(json.dumps({"job": "generate", "kind": "S9"}))
    material = read_material(with_classes)
    assert "--object-class" in material.warnings[0]
    assert all((pair.after.label == 255).all() for pair in material.pairs)
    with pytest.raises(InputError, match="holds classes"):
        read_pairs(with_classes, 0.5)


def test_pairs_of_a_test_are_left_out_with_a_word(pairs):
    (pairs / "list").mkdir()
    (pairs / "list" / "test.txt").write_text("tank_1.png\ntank_4.png\n")
    found = read_material(pairs)
    assert [pair.before.name for pair in found.pairs] == ["tank_0", "tank_2", "tank_3"]
    assert found.sources["count"] == 3 and "2 of 5 pairs" in " ".join(found.warnings)


@pytest.mark.parametrize("names", ["a_32 b_32 c_32 d_30 e_200", "a_32 b_32 c_200", "a_32 b_200"])
def test_the_pixel_size_is_that_of_most_pairs_and_others_are_told(pairs, names):
    for layer in ("A", "B", "label"):
        for number, name in enumerate(names.split()):
            (pairs / layer / f"tank_{number}.png").rename(pairs / layer / f"{name}.png")
        for left in (pairs / layer).glob("tank_*.png"):
            left.unlink()
    found = read_material(pairs, gsd=None)
    assert found.gsd == 0.32
    (told,) = [text for text in found.warnings if "make one of each" in text]
    assert told.startswith(f"1 of {len(names.split())} pairs") and "0.256 to 0.4 m" in told and "to 2 m" in told
    assert not any("make one of each" in text for text in read_material(pairs, gsd=0.5).warnings)


def test_both_figures_are_the_best_that_any_threshold_gives(pairs, tmp_path):
    made = finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **SHORT)
    (held_out,) = [pair for pair in read_material(pairs).pairs if pair.before.held_out]
    for model, key in (("tiny", "held_out_f1_before"), ("tanks", "held_out_f1")):
        scores = f1_by_threshold(judge(load_model(card_of(model)), [held_out]))[1:]
        # A hundredth is given up for a threshold near a half, and the weights that were kept are of half precision.
        assert scores.max() - 0.015 <= made["summary"][key] <= scores.max() + 0.001
    assert "also chose the step and the calibration" in made["summary"]["held_out_note"]


def test_the_threshold_serves_what_was_held_out_and_what_was_learned_from(pairs, tmp_path):
    made = finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **SHORT)
    model, known = load_model(card_of("tanks")), read_material(pairs).pairs
    parts = [judge(model, [pair for pair in known if pair.before.held_out is held_out]) for held_out in (True, False)]
    # One pair is held out: what was learned from counts FEW times as much.
    wanted = settled_threshold(*parts, few=FEW)
    assert card_of("tanks").threshold == pytest.approx(wanted, abs=0.02)
    assert made["summary"]["threshold"] == pytest.approx(written_threshold(card_of("tanks")), abs=1e-3)


def test_a_folder_of_pairs_becomes_a_model_that_detects(pairs, tmp_path, models_folder):
    stages = []
    made = finetune(
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
    assert verify("tanks")["path"] == str(models_folder / "tanks.safetensors")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["began_with"]["name"] == "tiny" and manifest["model"]["sha256"] == about["sha256"]
    found = detect_on(pairs, tmp_path, "tanks")
    assert found["summary"]["model"] == "tanks" and found["summary"]["threshold"] == about["threshold"]
    assert about["threshold"] == pytest.approx(made["summary"]["threshold"], abs=5e-4)


def draw(path, *boxes, crs=None):
    """Write boxes as polygons."""
    shapes = np.array([shapely.to_wkb(shapely.box(*box)) for box in boxes], object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pyogrio's, where there is no CRS
        pyogrio.raw.write(path, shapes, field_data=[], fields=[], geometry_type="Polygon", crs=crs)
    return path


def test_two_rasters_and_drawn_changes(pair, tmp_path):
    boxes = (500_075, 5_199_920, 500_115, 5_199_950), (500_010, 5_199_960, 500_030, 5_199_990)
    changes = draw(tmp_path / "changes.gpkg", *boxes, crs="EPSG:32633")
    made = finetune("squares", tmp_path / "run", before=pair[0], after=pair[1], changes=changes, **SHORT)
    card = card_of("squares")
    assert made["summary"]["gsd_m"] == card.gsd_native == 0.5
    inputs = json.loads((tmp_path / "run" / "manifest.json").read_text())["inputs"]
    assert inputs["before"]["crs"] == inputs["changes"]["crs"] == "EPSG:32633" and inputs["changes"]["features"] > 0
    assert not any("--gsd" in text for text in made["warnings"])


@pytest.mark.parametrize("gsd", [None, 0.3])
def test_a_pixel_size_is_not_assumed_in_silence(scene, write_raster, tmp_path, gsd):
    dates = [
        write_raster(f"{name}.tif", values, crs=None, transform=None) for name, values in zip("ab", scene, strict=True)
    ]
    changes = draw(tmp_path / "changes.gpkg", (150, 100, 230, 160), (20, 20, 60, 80))
    given = {"before": dates[0], "after": dates[1], "changes": changes, "gsd": gsd}
    made = finetune("squares", tmp_path / "run", **given, **SHORT)
    assert any("0.5 m is assumed" in text and "--gsd" in text for text in made["warnings"]) == (gsd is None)
    assert made["summary"]["gsd_m"] == (gsd or card_of("tiny").gsd_native)


def test_a_cancelled_run_goes_on_and_only_as_it_was_asked_for(pairs, tmp_path):
    def cancelled_in(stage):
        seen = []
        wish = {"on_progress": lambda p: seen.append(p.stage), "is_cancelled": lambda: stage in seen}
        with pytest.raises(Cancelled):
            finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **{**SHORT, "steps": 40}, **wish)

    cancelled_in("train")
    assert not (tmp_path / "run" / "manifest.json").exists()
    with pytest.raises(InputError, match="unfinished run"):
        finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **SHORT)
    with pytest.raises(InputError, match="other values of steps"):
        finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, resume=True, **SHORT)
    (pairs / "A" / "tank_0.png.aux.xml").write_text("<PAMDataset/>")  # as QGIS leaves it, who only looks
    (pairs / "list").mkdir()
    (pairs / "list" / "val.txt").write_text("tank_0.png\n")  # now another one is held out
    with pytest.raises(InputError, match=r"have changed \(1, .*val.txt"):
        finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, resume=True, **{**SHORT, "steps": 40})
    anew = finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, overwrite=True, **SHORT)
    assert anew["summary"]["steps"] == 2


@pytest.mark.parametrize(("job", "code"), [("detect", "not_empty"), ("generate", "input_in_output")])
def test_the_manifest_of_another_job_is_not_replaced(pairs, tmp_path, job, code):
    out = tmp_path / "results" if job == "detect" else pairs
    out.mkdir(exist_ok=True)
    (out / "manifest.json").write_text(json.dumps({"job": job, "scaling": {"a": 2.0, "b": 0.0}}))
    with pytest.raises(InputError) as caught:
        finetune("tanks", out, pairs=pairs, gsd=0.5, overwrite=True, **SHORT)
    assert caught.value.code == code
    assert json.loads((out / "manifest.json").read_text())["job"] == job


def test_names_that_are_taken_or_no_names_are_refused(pairs, tmp_path):
    given = {"pairs": pairs, "gsd": 0.5, **SHORT}
    for name, code in (("tiny", "name_taken"), ("../tanks", "bad_name"), ("changestar-vitb-s1c1", "name_taken")):
        with pytest.raises(InputError) as caught:
            finetune(name, tmp_path / "run", **given)
        assert caught.value.code == code and not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["pairs", "after"])
def test_what_is_missing_is_named(pairs, tmp_path, missing):
    given = {"pairs": {}, "after": {"before": "a.tif", "changes": "c.gpkg"}}[missing]
    with pytest.raises(InputError, match="after is missing" if given else "folder of pairs"):
        finetune("tanks", tmp_path / "run", **given, **SHORT)
    assert not (tmp_path / "run").exists()


def test_pairs_without_change_teach_nothing(pairs, tmp_path):
    for path in (pairs / "label").iterdir():
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    with pytest.raises(InputError, match="none of these holds a change"):
        finetune("tanks", tmp_path / "run", pairs=pairs, gsd=0.5, **SHORT)


def test_the_command_tells_both_figures_and_what_flatters_them(pairs, tmp_path):
    given = ["--pairs", str(pairs), "--gsd", "0.5", "--steps", "1", "--batch-size", "2", "--crop-size", "64"]
    done = CliRunner().invoke(app, ["finetune", "tanks", "-o", str(tmp_path / "run"), *given, "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert "at its best threshold too" in done.output and "also chose the step" in done.output


def test_going_on_replaces_no_model_that_another_run_has_installed(pairs, tmp_path):
    given = {"pairs": pairs, "gsd": 0.5, **SHORT}
    finetune("tanks", tmp_path / "first", **given)
    installed = card_of("tanks").sha256
    with pytest.raises(InputError) as caught:
        finetune("tanks", tmp_path / "second", resume=True, **{**given, "seed": 1})
    assert caught.value.code == "name_taken" and card_of("tanks").sha256 == installed
    finetune("tanks", tmp_path / "second", overwrite=True, **{**given, "seed": 1})
    assert card_of("tanks").sha256 != installed
