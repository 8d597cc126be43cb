"""The training loop: what is frozen stays frozen, a resumed run is the same run, held-out places stay unseen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from changen2.errors import Cancelled, InputError
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.training import loop, run
from changen2.training.config import TrainingConfig, load_config
from changen2.training.examples import TrainingPairs
from changen2.training.held_out import held_out_pairs
from changen2.training.places import Place, PlacePair


@pytest.fixture
def encoder_weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "encoder.pth"
    torch.save(EfficientNetLite("lite0").state_dict(), path)
    return path


def _place(seed: int, held_out: bool = False) -> Place:
    rng = np.random.default_rng(seed)
    label = np.zeros((96, 96), np.uint8)
    label[20:40, 20:50] = 1
    image = rng.integers(0, 90, (96, 96, 3), dtype=np.uint8) + label[..., None] * np.uint8(120)
    return Place("drawn", str(seed), image, label, 0.3, held_out)


@pytest.fixture
def imagery() -> loop.Imagery:
    empty = Place("drawn", "empty", np.full((96, 96, 3), 60, np.uint8), np.zeros((96, 96), np.uint8), 0.3)
    pair = PlacePair(empty, _place(5), _place(5))
    return loop.Imagery({"drawn": [_place(1), _place(2), _place(3, held_out=True)]}, {"drawn": [pair]})


def _config(out: Path, weights: Path, **changes: object) -> TrainingConfig:
    settings = {
        "data": out,
        "out": out,
        "encoder_weights": str(weights),
        "sources": {"drawn": 1.0},
        "kinds": {"star": 1.0, "mixed": 1.0, "none": 1.0},
        "pairs": {"drawn": 1.0},
        "crop_size": 64,
        "batch_size": 2,
        "steps": 4,
        "warmup": 2,
        "threads": 1,
        "fused_weight": 1.0,
    }
    return TrainingConfig.model_validate({**settings, **changes})


def test_it_trains_on_labelled_images_of_ones_own(tmp_path: Path, encoder_weights: Path) -> None:
    for name, first in (("first_town", 10), ("second_town", 20)):
        for layer in ("images", "masks"):
            (tmp_path / name / layer).mkdir(parents=True)
        for seed in (first, first + 1):
            place = _place(seed)
            Image.fromarray(place.image).save(tmp_path / name / "images" / f"{seed}.jpg")
            Image.fromarray(place.label).save(tmp_path / name / "masks" / f"{seed}.png")
    shipped = load_config(Path(loop.__file__).parent / "configs" / "own_images.yaml")
    own = {"data": tmp_path, "out": tmp_path / "run", "encoder_weights": str(encoder_weights), "folders": {}}
    own |= {"gsds": {"first_town": 0.3, "second_town": 0.5}}
    short = {"crop_size": 64, "batch_size": 2, "steps": 2, "warmup": 1, "threads": 1, "held_out_pairs": 3}
    config = shipped.model_copy(update=own | short)
    imagery = loop.read_imagery(config)
    assert {name: [p.held_out for p in found] for name, found in imagery.places.items()} == {
        "first_town": [False, True],
        "second_town": [False, True],
    }
    begun = loop.start(config).model.state_dict()
    assert not torch.equal(loop.train(config, imagery).state_dict()["semantic.weight"], begun["semantic.weight"])
    assert len(held_out_pairs(imagery, config)) == 3


def test_a_training_says_how_many_pairs_the_lists_leave_out(
    tmp_path: Path, encoder_weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = _place(1)
    for layer, values in (("A", place.image), ("B", place.image), ("label", place.label)):
        (tmp_path / "drawn" / layer).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(values).save(tmp_path / "drawn" / layer / f"{index}.png")
    (tmp_path / "drawn" / "list").mkdir()
    (tmp_path / "drawn" / "list" / "test.txt").write_text("1.png\n")
    found = loop.read_imagery(_config(tmp_path, encoder_weights, gsds={"drawn": 0.3}))
    # The dates of pairs serve as single dates, too: those of a test do not.
    assert [pair.before.name for pair in found.pairs["drawn"]] == ["0", "2"] and len(found.places["drawn"]) == 4
    assert "1 of 3 pairs" in caplog.text


def test_a_run_changes_the_decoder_and_nothing_of_the_encoder(
    tmp_path: Path, encoder_weights: Path, imagery: loop.Imagery
) -> None:
    config = _config(tmp_path / "run", encoder_weights)
    begun = loop.start(config).model.state_dict()
    ended = loop.train(config, imagery).state_dict()
    for key, value in ended.items():
        if key.startswith("encoder."):
            torch.testing.assert_close(value, begun[key], rtol=0, atol=0)
    assert not torch.equal(ended["semantic.weight"], begun["semantic.weight"])


def test_a_resumed_run_ends_where_one_in_a_piece_does(
    tmp_path: Path, encoder_weights: Path, imagery: loop.Imagery
) -> None:
    whole = loop.train(_config(tmp_path / "whole", encoder_weights), imagery).state_dict()

    def stop_at_two(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 2:
            raise Cancelled()

    pieces = _config(tmp_path / "pieces", encoder_weights)
    with pytest.raises(Cancelled):
        loop.train(pieces, imagery, on_step=stop_at_two)
    resumed = loop.train(pieces, imagery, resumed=True).state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)


def test_a_second_run_does_not_overwrite_the_first(
    tmp_path: Path, encoder_weights: Path, imagery: loop.Imagery
) -> None:
    config = _config(tmp_path / "run", encoder_weights, steps=1)
    loop.train(config, imagery)
    with pytest.raises(InputError, match="already holds"):
        loop.train(config, imagery)


def test_batch_norm_stands_still_after_the_warm_up(
    tmp_path: Path, encoder_weights: Path, imagery: loop.Imagery
) -> None:
    means = []
    config = _config(tmp_path / "run", encoder_weights, warmup=1, steps=2)
    state = loop.start(config)
    examples = TrainingPairs(imagery.places, imagery.pairs, config)
    batch = torch.utils.data.default_collate([examples[0], examples[1]])

    def losses(state: run.Run) -> tuple[dict[str, torch.Tensor], int]:
        parts = loop.losses(state.model, batch, config)
        means.append(state.model.change.norm.running_mean.clone())
        return parts, 2

    run.train(
        state, config, losses, run.warm_cosine(config), False, settle=lambda state: loop.hold_still(state, config)
    )
    assert means[0].abs().sum() > 0
    torch.testing.assert_close(means[1], means[0], rtol=0, atol=0)


def test_examples_are_the_same_by_number_and_leave_held_out_places_aside(
    tmp_path: Path, encoder_weights: Path, imagery: loop.Imagery
) -> None:
    config = _config(tmp_path, encoder_weights)
    examples = TrainingPairs(imagery.places, imagery.pairs, config)
    with loop.batches(imagery, config) as coming:
        later = [coming.of(step) for step in (2, 3)]
    for key, value in examples[5].items():
        torch.testing.assert_close(later[0][key][1], value)
    assert not torch.equal(later[0]["before"], later[1]["before"])
    assert [place.name for place in examples.places["drawn"]] == ["1", "2"]


def test_no_pair_is_held_out_of_what_has_no_weight(tmp_path: Path, encoder_weights: Path) -> None:
    places = {"drawn": [_place(1)], "other": [_place(2, held_out=True)]}
    config = _config(tmp_path, encoder_weights, sources={"drawn": 1, "other": 0}, pairs={})
    assert not held_out_pairs(loop.Imagery(places, {}), config)


def test_a_source_without_places_is_refused(tmp_path: Path, encoder_weights: Path) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        TrainingPairs({}, {}, _config(tmp_path, encoder_weights))


@pytest.mark.parametrize("major, minor", [(5, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (12, 0)])
def test_no_gpu_trains_in_fp16(monkeypatch: pytest.MonkeyPatch, major: int, minor: int) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, minor))
    chosen = loop.training_precision(torch.device("cuda"))
    assert chosen == (torch.bfloat16 if major >= 8 else torch.float32)


def test_the_loss_is_computed_in_the_precision_of_training() -> None:
    device = torch.device("cpu")
    with loop.mixed_precision(device):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == loop.training_precision(device) != torch.float16
