import numpy as np

from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.models.registry import embedded_detector
from changen2.reports.held_out import Tile
from changen2.reports.segmenter import DIM, building_iou, found_buildings, train_decoder
from changen2.training.crops import Crop


def meadow(rng):
    """A bright square roof on green ground."""
    image = rng.normal((70, 100, 60), 12, (192, 192, 3)).astype(np.float32)
    label = np.zeros((192, 192), np.uint8)
    top, left = rng.integers(10, 110, 2)
    label[top : top + 64, left : left + 64] = 1
    image[label == 1] += (120, 60, 40)
    return Crop(np.clip(image, 0, 255), label)


def test_a_decoder_learns_what_a_roof_is():
    rng = np.random.default_rng(0)
    model = ChangeStarTiny(dim=DIM)
    model.encoder.load_state_dict(embedded_detector().encoder.state_dict())
    model.encoder.requires_grad_(False)
    train_decoder(model.eval(), [meadow(rng) for _ in range(8)], steps=15, seed=0, on_step=lambda done, total: None)
    unseen = meadow(rng)
    picture = np.moveaxis(unseen.image.astype(np.uint8), -1, 0)
    found = found_buildings(model, picture)
    assert (found & (unseen.label == 1)).sum() > 0.7 * (found | (unseen.label == 1)).sum()
    tile = Tile("nowhere", "", picture, np.where(unseen.label == 1, 4, 0).astype(np.uint8), 0.3)
    assert building_iou(model, [tile]) > 0.7
