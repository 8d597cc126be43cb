"""The generative step with a generator whose answer is known."""

import numpy as np
import pytest
import torch

from changen2.diffusion.noise import CLAMP, FIRST_STEP, START, latent_noise
from changen2.errors import JobError
from changen2.gpcm import synthesis
from changen2.gpcm.labels import Box
from changen2.gpcm.regions import CELL, Region, find_regions
from changen2.gpcm.synthesis import Settings, Synthesizer
from changen2.models.memory import Batch

BUILDING = 4
RED = (1.8 * 127.5, 0.6 * 127.5, 0.6 * 127.5)


class Meadow:
    """Grey ground of any size on which a box becomes building."""

    def __init__(self, box):
        self.box = box
        self.read = []

    def _inside(self, box):
        inside = np.zeros(box.shape, bool)
        top, left = self.box.top - box.top, self.box.left - box.left
        bottom, right = self.box.bottom - box.top, self.box.right - box.left
        inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        return inside

    def rgb(self, box):
        self.read.append(box)
        rows, columns = np.mgrid[box.top : box.bottom, box.left : box.right]
        ground = 100 + (rows // 4 * 7 + columns // 4 * 13) % 20
        return np.stack([ground] * 3).astype(np.uint8)

    def labels(self, box):
        return np.where(self._inside(box), BUILDING, 0).astype(np.uint8)

    def change(self, box):
        return self._inside(box)

    def regions(self, side):
        cells = np.zeros((-(-side // 64), -(-side // 64)), bool)
        cells[self.box.top // 64 : -(-self.box.bottom // 64), self.box.left // 64 : -(-self.box.right // 64)] = True
        extent = Box(*(edge // 4 for edge in (self.box.top, self.box.left, self.box.bottom + 3, self.box.right + 3)))
        return list(find_regions(cells, lambda _: extent, (side // 4, side // 4)))


def draw(generator, scene, side=2000, exemplar=None, **options):
    synthesizer = Synthesizer(generator, Settings(**{"steps": 6, **options}))
    (region,) = scene.regions(side)
    return list(synthesizer.draw(region, scene, 1, exemplar)), synthesizer


@pytest.mark.parametrize("sampler", ["dpmpp", "ddim", "ddpm"])
def test_the_change_is_drawn_and_the_rest_is_held(flat_generator, sampler):
    scene = Meadow(Box(400, 600, 460, 680))
    (piece,), synthesizer = draw(flat_generator, scene, sampler=sampler, steps=12)
    inside = scene.change(piece.seen)
    held = np.abs(piece.rgb - scene.rgb(piece.seen))[:, ~inside]
    assert held.max() < 1
    assert piece.rgb[:, inside].mean(1) == pytest.approx(RED, abs=14)
    assert synthesizer.encoded == 1 and synthesizer.sampled == len(synthesizer.timesteps(False))


def test_change_thinner_than_a_latent_place_is_drawn(flat_generator):
    scene = Meadow(Box(401, 600, 403, 680))
    (piece,), _ = draw(flat_generator, scene, steps=12)
    inside = scene.change(piece.seen)
    assert piece.rgb[0, inside].mean() > scene.rgb(piece.seen)[0, inside].mean() + 10


def test_every_step_has_noise_of_its_own(flat_generator, monkeypatch):
    asked = []
    monkeypatch.setattr(synthesis, "latent_noise", lambda *key: asked.append(key[:3]) or latent_noise(*key))
    draw(flat_generator, Meadow(Box(400, 600, 460, 680)), sampler="ddpm", steps=6, seed=5)
    # The last step, to the clean sample, takes none.
    assert sorted(asked) == [(5, 1, step) for step in (START, CLAMP, *range(FIRST_STEP, FIRST_STEP + 5))]


def test_what_was_drawn_before_is_held(flat_generator):
    region = Region(np.array([[0, 1]]), Box(0, 0, CELL, 2 * CELL), True, drawn=np.array([[0, 0]]))
    free = Synthesizer(flat_generator, Settings())._on_latents(region, np.ones((4 * CELL, 8 * CELL), bool))
    assert free[:, CELL:].all() and not free[:, :CELL].any()


def red_of(pieces):
    """The red channel of pieces put together."""
    picture = np.zeros((1400, 1700), np.float32)
    for piece in pieces:
        top, left = piece.box.top - piece.seen.top, piece.box.left - piece.seen.left
        height, width = piece.box.shape
        core = piece.rgb[0, top : top + height, left : left + width]
        picture[piece.box.top : piece.box.bottom, piece.box.left : piece.box.right] = core
    return picture


def seam(red):
    """The largest step between neighbouring columns over the usual one."""
    steps = np.abs(np.diff(red[308:992, 408:1292:4], axis=1)).mean(0)
    return steps.max() / np.median(steps)


def test_shifted_windows_leave_no_seam(flat_generator, monkeypatch):
    # The stand-in errs at the border of what it sees, as networks do.
    scene = Meadow(Box(300, 400, 1000, 1300))
    pieces, synthesizer = draw(flat_generator, scene, steps=20)
    (region,) = scene.regions(2000)
    assert synthesizer.sampled == synthesizer.looks(region, 1, False) > 100
    assert red_of(pieces)[308:992, 408:1292].mean() == pytest.approx(RED[0], abs=8)
    monkeypatch.setattr(Synthesizer, "_shift", lambda *_: (0, 0))
    unshifted, _ = draw(flat_generator, scene, steps=20)
    assert seam(red_of(pieces)) < 2.5 < 4 < seam(red_of(unshifted))


def test_noise_and_answer_depend_on_the_place_only(flat_generator):
    scene = Meadow(Box(400, 600, 460, 680))
    first, _ = draw(flat_generator, scene, side=2000)
    larger, _ = draw(flat_generator, scene, side=5000)
    other, _ = draw(flat_generator, scene, seed=1)
    assert np.array_equal(first[0].rgb, larger[0].rgb)
    assert not np.array_equal(first[0].rgb, other[0].rgb)


def test_reading_follows_the_change(flat_generator):
    scene = Meadow(Box(400, 600, 460, 680))
    draw(flat_generator, scene, side=100_000)
    assert len(scene.read) == 1 and max(scene.read[0].shape) <= 320


def test_an_exemplar_shortens_the_way(flat_generator):
    scene = Meadow(Box(400, 600, 460, 680))
    (region,) = scene.regions(2000)
    picture = np.full((3, *(4 * side for side in region.box.shape)), 200, np.uint8)
    pieces, synthesizer = draw(flat_generator, scene, exemplar=picture, steps=12, exemplar_level=0.3)
    assert synthesizer.sampled == len(synthesizer.timesteps(True)) < len(synthesizer.timesteps(False))
    assert max(synthesizer.timesteps(True)) == 300
    assert synthesizer.encoded == 2
    assert pieces[0].rgb[:, scene.change(pieces[0].seen)].mean(1) == pytest.approx(RED, abs=20)


def test_a_start_gives_back_the_detail_that_latents_cannot_hold(flat_generator):
    scene = Meadow(Box(400, 600, 460, 680))
    (region,) = scene.regions(2000)
    height, width = (4 * side for side in region.box.shape)
    rows, columns = np.mgrid[:height, :width]
    stripes = np.array(RED)[:, None, None] + np.zeros((3, height, width)) + np.where((rows + columns) % 2, 20, -20)
    picture = np.clip(stripes, 0, 255).astype(np.uint8)
    options = {"exemplar": picture, "steps": 12, "exemplar_level": 0.2}
    (fine,), _ = draw(flat_generator, scene, **options)
    (plain,), _ = draw(flat_generator, scene, **options, exemplar_detail=False)
    inside = scene.change(fine.seen)[:, 1:] & scene.change(fine.seen)[:, :-1]
    grain = [np.abs(np.diff(piece.rgb[1], axis=1))[inside].mean() for piece in (fine, plain)]
    assert grain[0] > 25 > 8 > grain[1]
    (redrawn,), _ = draw(flat_generator, scene, **{**options, "exemplar_level": 0.9})
    assert np.abs(np.diff(redrawn.rgb[1], axis=1))[inside].mean() < 12, "the more is redrawn, the less remains"


def test_guidance_asks_again_without_labels(flat_generator, monkeypatch):
    asked = []
    embed = flat_generator.embed_labels

    def spy(labels, gsd, told=None):
        asked.append(told)
        return embed(labels, gsd)

    monkeypatch.setattr(flat_generator, "embed_labels", spy)
    scene = Meadow(Box(400, 600, 460, 680))
    (guided,), _ = draw(flat_generator, scene, label_guidance=3.0)
    assert [told is None for told in asked] == [True, False] and not asked[1].any()
    # What is said without labels is the same here, so guidance must not move it.
    (plain,), _ = draw(flat_generator, scene)
    assert guided.rgb == pytest.approx(plain.rgb, abs=0.2)


def test_without_clamp_the_windows_around_are_still_the_image(flat_generator):
    scene = Meadow(Box(300, 400, 1000, 1300))
    pieces, _ = draw(flat_generator, scene, guidance_ratio=0.5, steps=4)
    off = [np.abs(piece.rgb - scene.rgb(piece.seen))[:, ~scene.change(piece.seen)].ravel() for piece in pieces]
    assert np.concatenate(off).mean() < 6


@pytest.mark.parametrize("box", [Box(400, 600, 460, 680), Box(300, 400, 1000, 1300)])
def test_windows_are_looked_at_again_in_smaller_batches_where_memory_is_short(flat_generator, monkeypatch, box):
    """Memory becomes short midway; the batch is the test's own, since on a CPU it is one window."""
    denoise, sizes = flat_generator.denoise, []

    def short(x_t, *rest):
        sizes.append(len(x_t))
        if len(sizes) > 3 and len(x_t) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return denoise(x_t, *rest)

    scene = Meadow(box)
    (region,) = scene.regions(2000)

    def drawn(batch):
        synthesizer = Synthesizer(flat_generator, Settings(steps=6))
        monkeypatch.setattr(synthesizer, "_batch", Batch(batch, torch.device("cpu")))
        return list(synthesizer.draw(region, scene, 1)), synthesizer

    alone, one = drawn(1)
    monkeypatch.setattr(flat_generator, "denoise", short)
    pieces, halved = drawn(8)
    assert sizes[:6] == [8, 8, 8, 8, 4, 2] and halved.batch_size == 2
    assert halved.sampled == one.sampled
    np.testing.assert_allclose(red_of(pieces), red_of(alone), atol=1e-3)


@pytest.mark.parametrize("part", ["encode", "denoise", "decode"])
def test_where_not_even_one_window_fits_it_is_said(flat_generator, monkeypatch, part):
    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(flat_generator, part, short)
    with pytest.raises(JobError, match=r"\d+ × \d+ pixels does not fit into the free memory of cpu") as caught:
        draw(flat_generator, Meadow(Box(400, 600, 460, 680)))
    assert caught.value.code == "out_of_memory"


def test_a_decoder_that_sees_the_whole_leaves_no_seam(flat_generator, monkeypatch):
    # What is decoded at once is made brighter the more it holds, as a norm over all of it would.
    decode = flat_generator.decode
    monkeypatch.setattr(flat_generator, "decode", lambda latents: decode(latents) + latents[:, :1].mean() * 400)
    scene = Meadow(Box(300, 400, 1000, 1300))
    stepped, _ = draw(flat_generator, scene)
    monkeypatch.setattr(flat_generator, "is_local", False)
    blended, _ = draw(flat_generator, scene)
    largest, steepest = (
        np.abs(np.diff(red_of(pieces)[308:992, 408:1292:4], axis=1)).mean(0).max() for pieces in (stepped, blended)
    )
    assert steepest < largest / 4


def test_an_answer_that_is_no_number_is_not_drawn(flat_generator, monkeypatch):
    monkeypatch.setattr(flat_generator, "denoise", lambda noisy, *_: noisy * torch.nan)
    with pytest.raises(JobError, match="not a number"):
        draw(flat_generator, Meadow(Box(400, 600, 460, 680)))
