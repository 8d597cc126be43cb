"""Places written for ``changen2 generate``: at one scale, without what is held out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changen2.training import export_places as job
from changen2.training.places import Place


@pytest.fixture
def place() -> Place:
    label = np.zeros((60, 80), np.uint8)
    label[10:30, 20:60] = 1
    label[:, 70:] = 255
    return Place("town", "a", np.full((60, 80, 3), 90, np.uint8), label, 0.6)


def test_image_and_mask_are_resampled_alike_and_the_unknown_is_clear(place: Place, tmp_path: Path) -> None:
    job.export_place(place, "town_000", tmp_path, 0.3)
    image, mask = (np.asarray(Image.open(tmp_path / layer / "town_000.png")) for layer in ("images", "labels"))
    assert image.shape == (120, 160, 4) and (image[..., :3] == 90).all()
    assert (image[:, :135, 3] == 255).all() and (image[:, 145:, 3] == 0).all()
    assert (mask[25:55, 45:115] == 255).all() and not mask[65:].any() and not mask[:, 145:].any()


def test_what_is_held_out_stays_out(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_back = Place("town", "b", place.image, place.label, 0.6, held_out=True)
    monkeypatch.setitem(job.SOURCES, "town", lambda root: [place, kept_back])
    assert job.export_places(tmp_path, tmp_path / "out", ["town"], 0.3) == 1
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["town_000.png"]
