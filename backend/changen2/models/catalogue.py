"""The published models that a user may install: what each is for, and where the authors keep it.

Their weights are not part of this package: the authors' licence forbids commercial use, so every user decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from changen2.models.card import ModelCard, ModelClass

NONCOMMERCIAL = "CC-BY-NC-SA-4.0"
UNSTATED = "not stated"
LICENCES = {
    NONCOMMERCIAL: (
        "These weights were published by the authors of Changen2 under the licence CC BY-NC-SA 4.0 "
        "(https://creativecommons.org/licenses/by-nc-sa/4.0/). In plain words: you may use them for research, teaching "
        "and private work. You may not use them for anything commercial, and paid work for a client is commercial. "
        "Wherever you show results made with them, name the authors (Zheng, Ermon, Kim, Zhang, Zhong: Changen2, "
        "IEEE TPAMI 2024). If you pass the weights on, changed or not, pass them on under this same licence."
    ),
    "MIT": "These weights are under the MIT licence: use them for anything, keep its notice when you pass them on.",
    UNSTATED: "These weights were trained here and no licence was stated; what they learned from may ask for one.",
}


@dataclass(frozen=True)
class PublishedModel:
    """A model that can be installed.

    Attributes:
        card: what a person and a job need to know; without digest, since nothing is at hand yet.
        repository: on huggingface.co.
        config_key: entry of the repository's config.json that names the file; empty where there is none.
        file_name: in the repository; empty where `config_key` or the repository's listing tells it.
        part: of other models; nothing to choose by itself.
        reported_sha256: of the file, as others report it; not verified, so it is compared but never enforced.
    """

    card: ModelCard
    repository: str
    config_key: str = ""
    file_name: str = ""
    reported_sha256: str = ""
    part: bool = False


BUILDINGS = [
    ModelClass(index=0, name="background", color="#bdbdbd"),
    ModelClass(index=1, name="building", color="#d7263d"),
]
# OpenEarthMap's classes and palette (Xia et al. 2023).
LAND_COVER = [
    ModelClass(index=index, name=name, color=color)
    for index, (name, color) in enumerate(
        (
            ("unknown", "#000000"),
            ("bareland", "#800000"),
            ("rangeland", "#00ff24"),
            ("developed space", "#949494"),
            ("road", "#ffffff"),
            ("tree", "#226126"),
            ("water", "#0045ff"),
            ("agriculture", "#4bb549"),
            ("building", "#de1f07"),
        )
    )
]
# The grades of the xBD data set (Gupta et al. 2019); in the first two nothing changed.
DAMAGE = [
    ModelClass(index=index, name=name, color=color)
    for index, (name, color) in enumerate(
        (
            ("no building", "#bdbdbd"),
            ("no damage", "#2c7bb6"),
            ("minor damage", "#ffe066"),
            ("major damage", "#f28e2b"),
            ("destroyed", "#b2182b"),
        )
    )
]
CHANGESTAR = "EVER-Z/Changen2-ChangeStar1x256"


def detector(
    name: str,
    title: str,
    summary: str,
    config_key: str,
    *,
    classes: list[ModelClass] = BUILDINGS,
    change_classes: list[ModelClass] | None = None,
    unchanged_classes: list[int] | None = None,
    gsd: tuple[float, float, float] = (0.3, 1.0, 0.5),
    parameters: int = 99_934_530,
    reported_sha256: str = "",
    training_start: bool = False,
) -> PublishedModel:
    """A published ChangeStar 1×256; `gsd` in metres: least, largest, native."""
    card = ModelCard(
        name=name,
        architecture=name,
        title=title,
        summary=summary,
        classes=classes,
        change_classes=change_classes or [],
        unchanged_classes=unchanged_classes or [0],
        gsd_min=gsd[0],
        gsd_max=gsd[1],
        gsd_native=gsd[2],
        licence=NONCOMMERCIAL,
        noncommercial=True,
        size_bytes=4 * parameters,
        sha256="",
        installed=False,
        embedded=False,
        training_start=training_start,
    )
    return PublishedModel(card, CHANGESTAR, config_key, reported_sha256=reported_sha256)


def generator(
    name: str, title: str, summary: str, repository: str, classes: list[ModelClass], gsd: tuple[float, float]
) -> PublishedModel:
    """A published RS-DiT-B/2."""
    card = ModelCard(
        name=name,
        architecture="rsdit-b2",
        title=title,
        task="synthesize",
        summary=summary,
        classes=classes,
        gsd_min=gsd[0],
        gsd_max=gsd[1],
        gsd_native=0.5,
        tile_size=256,
        licence=NONCOMMERCIAL,
        noncommercial=True,
        size_bytes=4 * 140_422_208,
        sha256="",
        installed=False,
        embedded=False,
    )
    return PublishedModel(card, repository)


AUTOENCODER = PublishedModel(
    ModelCard(
        name="autoencoder-kl",
        architecture="autoencoder-kl",
        title="Stable Diffusion's autoencoder",
        task="synthesize",
        summary="Not a generator by itself: the published RS-DiT models work in its latents and need it beside them.",
        gsd_min=0.01,
        gsd_max=100.0,
        gsd_native=0.5,
        licence="MIT",
        size_bytes=4 * 83_653_863,
        sha256="",
        installed=False,
        embedded=False,
    ),
    "stabilityai/sd-vae-ft-mse",
    file_name="diffusion_pytorch_model.safetensors",
    part=True,
)

CATALOGUE = {
    model.card.name: model
    for model in (
        detector(
            "changestar-vitb-s1c1",
            "ChangeStar ViT-B: buildings",
            "Finds buildings that came or went, without training on your region.",
            "s1_changestar_vitb_1x256",
            reported_sha256="ba540ed456001c0a909fe0f464ed4c720d1e5b8f373e811164a09ac1da574b75",
        ),
        detector(
            "changestar-vitl-s1c1",
            "ChangeStar ViT-L: buildings",
            "The larger building model: about three times slower, somewhat more accurate.",
            "s1_changestar_vitl_1x256",
            parameters=318_541_890,
        ),
        detector(
            "changestar-vitb-s9c1",
            "ChangeStar ViT-B: land cover",
            "Finds change among eight kinds of land cover and says from which to which.",
            "s9_changestar_vitb_1x256",
            classes=LAND_COVER,
            gsd=(0.25, 0.5, 0.5),
        ),
        detector(
            "changestar-vitb-s1c5",
            "ChangeStar ViT-B: building damage",
            "Grades the damage to buildings after a disaster, from none to destroyed.",
            "s0_xView2_changestar_vitb_1x256",
            change_classes=DAMAGE,
            unchanged_classes=[0, 1],
        ),
        detector(
            "changestar-vitb-s0",
            "ChangeStar ViT-B: start for training",
            "Pre-trained without labels. It does not detect: train it on labelled pairs of your own first.",
            "s0_changestar_vitb_1x256",
            training_start=True,
        ),
        generator(
            "rsdit-b2-xview2",
            "RS-DiT-B/2: buildings",
            "Draws buildings into satellite images, or takes them out.",
            "EVER-Z/Changen2_RSDiT-B-2-xView2-256",
            BUILDINGS,
            (0.3, 1.0),
        ),
        generator(
            "rsdit-b2-oem",
            "RS-DiT-B/2: land cover",
            "Redraws parts of aerial images as another kind of land cover.",
            "EVER-Z/Changen2_RSDiT-B-2-OEM-256",
            LAND_COVER,
            (0.25, 0.5),
        ),
        AUTOENCODER,
    )
}
