"""Training of the land-cover detector: its losses, and a run that learns to tell water from land."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from changen2.errors import InputError
from changen2.models.changestar_landcover import fuse_classes
from changen2.models.registry import card_of, weights_path
from changen2.scenes.classes import LAND, WATER
from changen2.training import landcover_train
from changen2.training.config import TrainingConfig
from changen2.training.finetune import losses_of
from changen2.training.landcover import NOT_BUILDING
from changen2.training.landcover_measure import class_report, confusion, everything, gain, load_trained, pair_counts
from changen2.training.landcover_train import change_of_classes, class_cross_entropy, export, fused_cross_entropy
from changen2.training.loop import Imagery
from changen2.training.measure import f1
from changen2.training.places import IGNORE, Place


def test_not_being_a_building_is_the_sum_of_all_other_classes() -> None:
    logits = torch.zeros(1, 5, 1, 3)
    label = torch.tensor([[[1, NOT_BUILDING, IGNORE]]])
    wanted = (math.log(5) + math.log(5 / 4)) / 2
    assert class_cross_entropy(logits, label).item() == pytest.approx(wanted, abs=1e-5)
    assert class_cross_entropy(logits, torch.full((1, 1, 3), IGNORE)).item() == 0


def test_the_fused_loss_is_the_cross_entropy_of_the_score() -> None:
    generator = torch.Generator().manual_seed(1)
    change, before, after = (torch.randn(1, n, 4, 4, generator=generator) for n in (1, 5, 5))
    target = (torch.rand(1, 1, 4, 4, generator=generator) > 0.5).float()
    score = fuse_classes(change, before, after).change
    wanted = torch.nn.functional.binary_cross_entropy(score, target)
    torch.testing.assert_close(fused_cross_entropy(change, before, after, target, torch.ones_like(target)), wanted)


def _places() -> list[Place]:
    """Dark smooth water beside bright rough land, one place of four held out."""
    places = []
    for index in range(4):
        rng = np.random.default_rng(index)
        label = np.full((96, 96), LAND, np.uint8)
        label[:, :48] = WATER
        land = np.clip(rng.normal(180, 40, (96, 96, 1)) + np.array([10, 0, -20]), 0, 255)
        image = np.where(label[..., None] == WATER, [20, 40, 60], land).astype(np.uint8)
        places.append(Place("coast", str(index), image, label, 0.5, held_out=index == 3))
    return places


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, TrainingConfig, Imagery]:
    config = TrainingConfig(
        network="landcover", data="data", out=tmp_path_factory.mktemp("run"), encoder_weights="none",
        sources={"coast": 1.0}, kinds={"star": 0.5, "region": 0.5}, crop_size=64, gsd_range=(0.5, 0.8), max_shift=1,
        colour_strength=0.2, batch_size=3, steps=30, warmup=8, learning_rate=4e-3, ema=0.8, fused_weight=1.0,
        held_out_pairs=6, threads=1,
    )  # fmt: skip
    whole = load_file(weights_path(card_of("tiny")))
    encoder = {name.removeprefix("encoder."): value for name, value in whole.items() if name.startswith("encoder.")}
    torch.save(encoder, config.out / "encoder.pth")
    config = config.model_copy(update={"encoder_weights": str(config.out / "encoder.pth")})
    imagery = Imagery({"coast": _places()}, {})
    return landcover_train.train(config, imagery).eval(), config, imagery


def test_it_learns_classes_and_change_of_a_place_it_has_not_seen(trained) -> None:
    model, config, imagery = trained
    table = confusion(model, landcover_train.part(imagery, held_out=True).places["coast"], gsd=0.5)
    assert class_report(table)["accuracy"] > 0.9
    pairs = landcover_train.held_out_pairs(imagery, config)
    counts = pair_counts(model, pairs)
    assert gain(counts, everything([pair.change for pair in pairs])).value > 0.1
    assert f1(counts) > 0.6


def test_exported_weights_and_an_encoder_make_the_model_again(trained, tmp_path: Path) -> None:
    model, config, _ = trained
    export(model, tmp_path / "own.safetensors")
    assert not any(name.startswith("encoder.") for name in load_file(tmp_path / "own.safetensors"))
    landcover_train.save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "whole.safetensors"
    )
    again = load_trained(tmp_path / "own.safetensors", tmp_path / "whole.safetensors", config)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            again(image, image.flip(2)).change, model(image, image.flip(2)).change, atol=2e-2, rtol=0
        )


def test_with_nothing_held_out_no_pair_is_made(trained) -> None:
    _, config, imagery = trained
    learned = landcover_train.part(imagery, held_out=False)
    assert landcover_train.held_out_pairs(learned, config) == []
    away = landcover_train.part(imagery, held_out=True)
    with pytest.raises(InputError, match="nothing to train on"):
        landcover_train.train(config, away)


def test_fine_tuning_learns_from_its_change_alone(trained) -> None:
    model, config, imagery = trained
    pair = landcover_train.held_out_pairs(imagery, config)[0]
    batch = {key: value[None] for key, value in landcover_train.to_example(pair).items()}
    model.train().requires_grad_(True)
    parts = losses_of(model, batch, config)
    parts["total"].backward()
    assert parts.keys() == {"change", "total"}
    assert all(torch.isfinite(p.grad).all() for p in model.change.parameters())
    model.eval()


def test_change_of_a_class_is_known_where_either_date_is_of_it_or_both_are_told() -> None:
    before = torch.tensor([[[LAND, LAND, IGNORE, IGNORE, NOT_BUILDING]]])
    after = torch.tensor([[[WATER, LAND, WATER, LAND, NOT_BUILDING]]])
    change = torch.tensor([[[[1.0, 1, 1, 0, 1]]]])
    batch = {"semantic_before": before, "semantic_after": after, "change": change}
    wanted, known = change_of_classes({**batch, "change_known": torch.ones_like(change)})
    assert wanted[0, :, 0].T.tolist() == [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5, [0] * 5]
    # Of class: 1 water, 2 land, 3 road, 4 building, 5 vegetation. What did not change changed of no class.
    told = [[1] * 5, [1] * 5, [1, 0, 0, 0, 0], [1] * 5, [0, 0, 0, 1, 0]]
    assert known[0, :, 0].T.tolist() == told
    assert not change_of_classes({**batch, "change_known": torch.zeros_like(change)})[1].any()


def test_any_change_is_learned_by_going_on_from_land_cover(trained, tmp_path: Path) -> None:
    model, config, imagery = trained
    torch.save({"average": model.state_dict()}, tmp_path / "start.pt")
    changes = {"network": "anything", "kinds": {"objects": 0.8, "none": 0.2}, "start_from": tmp_path / "start.pt"}
    config = TrainingConfig(**{**config.model_dump(), **changes, "out": tmp_path / "run", "steps": 20})
    pairs = landcover_train.held_out_pairs(imagery, config)
    began = f1(pair_counts(landcover_train.fresh(config).eval(), pairs))
    learned = landcover_train.train(config, imagery).eval()
    assert f1(pair_counts(learned, pairs)) > max(0.3, began)
    assert learned.change.classify.out_channels == 1
    config = config.model_copy(update={"start_from": config.out / "checkpoint.pt"})
    assert landcover_train.fresh(config).change.classify.out_channels == 1, "a checkpoint is a start as well"
    for name, value in learned.encoder.state_dict().items():
        torch.testing.assert_close(value, model.encoder.state_dict()[name])
