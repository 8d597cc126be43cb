"""One encoder for two detectors: both move it, it stays one, and what is written fits together."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from changen2.models.changestar_landcover import ChangeStarLandCover
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.scenes.classes import LAND, WATER
from changen2.training.export import export_weights, load_exported
from changen2.training.landcover_measure import load_trained
from changen2.training.loop import Imagery
from changen2.training.places import Place
from changen2.training.shared_encoder import Both, SharedEncoderConfig, begin, export, train


def _imagery(labels: tuple[int, int]) -> Imagery:
    places = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        label = np.full((96, 96), labels[0], np.uint8)
        label[20:60, 20:50] = labels[1]
        image = rng.integers(0, 90, (96, 96, 3), dtype=np.uint8) + (label[..., None] == labels[1]) * np.uint8(120)
        places.append(Place("drawn", str(seed), image, label, 0.3, held_out=seed == 2))
    return Imagery({"drawn": places}, {})


@pytest.fixture
def config(tmp_path: Path) -> SharedEncoderConfig:
    """Of two detectors with weights of chance, in a folder with their configurations."""
    torch.manual_seed(1)
    torch.save(EfficientNetLite("lite0").state_dict(), tmp_path / "encoder.pth")
    mix = {
        "data": "data", "out": "out", "encoder_weights": str(tmp_path / "encoder.pth"), "sources": {"drawn": 1.0},
        "kinds": {"star": 1.0, "region": 1.0}, "crop_size": 64, "batch_size": 2, "fused_weight": 1.0,
    }  # fmt: skip
    for name in ("buildings", "landcover"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**mix, "network": name}))
    export_weights(ChangeStarTiny(), tmp_path / "tiny.safetensors")
    export_weights(ChangeStarLandCover(), tmp_path / "landcover.safetensors")
    return SharedEncoderConfig(
        buildings="buildings.yaml", landcover="landcover.yaml", buildings_from=tmp_path / "tiny.safetensors",
        landcover_from=tmp_path / "landcover.safetensors", out=tmp_path / "run", landcover_batch_size=2, steps=2,
        warmup=1, threads=1,
    )  # fmt: skip


def _train(config: SharedEncoderConfig, beside: Path) -> Both:
    return train(config, beside, _imagery((0, 1)), _imagery((LAND, WATER)))


def test_both_detectors_move_one_encoder_slower_than_the_rest(config: SharedEncoderConfig, tmp_path: Path) -> None:
    before = load_exported(tmp_path / "tiny.safetensors", config.of_buildings(tmp_path)).state_dict()
    trained = _train(config.model_copy(update={"steps": 1, "encoder_share": 0.25, "weight_decay": 0.0}), tmp_path)
    assert trained.landcover.encoder is trained.buildings.encoder
    # Each weight's first step of Adam is as long as its learning rate.
    moved = {
        key: (value - before[key]).abs().max().item()
        for key, value in trained.buildings.state_dict().items()
        if key in {"encoder._conv_stem.weight", "decoder.settle.0.weight"}
    }
    assert moved["decoder.settle.0.weight"] == pytest.approx(4 * moved["encoder._conv_stem.weight"], rel=0.02)
    assert moved["encoder._conv_stem.weight"] > 0


def test_what_both_share_is_trained_and_averaged_once(config: SharedEncoderConfig) -> None:
    state = begin(Both(ChangeStarTiny(), ChangeStarLandCover()), config)
    names = [name for name, _ in state.average.named_parameters()]
    assert sum(name.startswith("buildings.encoder.") for name in names) > 100
    assert not any(name.startswith("landcover.encoder.") for name in names)
    given = [id(p) for group in state.optimizer.param_groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in state.model.parameters())


def test_a_run_cut_in_two_is_the_same_run(config: SharedEncoderConfig, tmp_path: Path) -> None:
    whole = _train(config, tmp_path).state_dict()
    broken = config.model_copy(update={"out": tmp_path / "broken"})

    class Enough(Exception):
        pass

    def stop(step: int, steps: int, means: dict[str, float]) -> None:
        raise Enough

    with pytest.raises(Enough):
        train(broken, tmp_path, _imagery((0, 1)), _imagery((LAND, WATER)), stop)
    for key, value in _train(broken, tmp_path).state_dict().items():
        torch.testing.assert_close(value, whole[key], rtol=0, atol=0)


def test_what_is_written_fits_together(config: SharedEncoderConfig, tmp_path: Path) -> None:
    trained = _train(config, tmp_path)
    export(trained, config.out)
    tiny, landcover = config.out / "tiny.safetensors", config.out / "tiny-landcover.safetensors"
    assert not any(key.startswith("encoder.") for key in load_file(landcover))
    again = load_trained(landcover, tiny, config.of_landcover(tmp_path))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = trained.landcover.eval()(images, images.flip(3))["change"]
        torch.testing.assert_close(again(images, images.flip(3))["change"], wanted, atol=5e-3, rtol=0)
