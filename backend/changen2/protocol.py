"""The only schema of the wire: requests, replies, notifications (JSON-RPC 2.0, one message a line)."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from changen2.errors import Cancelled, Changen2Error, InputError
from changen2.paths import absolute, absolute_source, absolute_unless_words
from changen2.redaction import redact
from changen2.refusals import refusal

PROTOCOL = 1

LINE_LIMIT = 1024 * 1024
"""Bytes of one message, its newline included."""

MOST_STEPS = 1000
"""Of a series."""

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, BAD_INPUT = -32700, -32600, -32601, -32602
JOB_FAILED, CANCELLED = -32000, -32800


def _split(value: object) -> object:
    """Accept ``1,2,3`` beside ``[1, 2, 3]``."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _utf8(path: str) -> str:
    """Refuse a path that GDAL cannot open and no manifest can name; on Linux a file may be called so."""
    try:
        path.encode()
    except UnicodeEncodeError:
        said = path.encode(errors="backslashreplace").decode()
        raise InputError(
            f"{said} is not a UTF-8 name.", hint="Rename the file or folder, or choose another.", code="bad_value"
        ) from None
    return path


def _text(path: object) -> object:
    """Accept ``Path("a.tif")`` beside ``"a.tif"``."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


# A working folder may be called so, too.
Folder = Annotated[str, BeforeValidator(_text), AfterValidator(absolute), AfterValidator(_utf8)]
Source = Annotated[str, BeforeValidator(_text), AfterValidator(absolute_source), AfterValidator(_utf8)]
SourceOrWords = Annotated[str, BeforeValidator(_text), AfterValidator(absolute_unless_words), AfterValidator(_utf8)]
Bands = Annotated[
    tuple[int, ...] | None, BeforeValidator(_split), Field(description="numbers of bands, such as 4 or 1,2,3")
]
Probability = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
DeviceName = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="auto, cpu, cuda, cuda:N (such as cuda:0) or mps")
]
BoundsGiven = Annotated[
    tuple[float, float, float, float] | None, Field(description="four finite numbers: left, bottom, right, top")
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def _number(value: object) -> object:
    """Accept ``"0.5"`` beside ``0.5``, ``"none"`` beside None; other text, such as ``auto``, is left to the schema."""
    if value == "none":
        return None
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


GroundSampling = Annotated[Literal["auto"] | Annotated[float, Field(gt=0)] | None, BeforeValidator(_number)]


class Request(BaseModel):
    """Parameters of a request; unknown ones are refused, so that a typing error is not ignored.

    Paths are made absolute, so that a run is the same run from another working folder. No number is infinite or NaN.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DetectRequest(Request):
    """Find change between two rasters.

    Attributes:
        before: raster that gives the grid.
        after: raster, warped to that grid.
        out_dir: folder for the outputs; must not hold anything unless ``overwrite``.
        model: name of an installed detector.
        bounds: left, bottom, right, top in the CRS of ``before``; crops.
        aoi: vector file whose polygons crop and mask.
        bands, bands_after: one band or three, from 1; None chooses red, green, blue.
        threshold: 0..1; None takes the model card's.
        min_area: m² below which a polygon is left out.
        gsd: None keeps the raster's pixels, ``auto`` resamples to the model's, a number to that many metres.
        coregister: measure and undo a global shift of ``after``.
        tile_size, overlap, batch_size: pixels, pixels, pairs; None takes the model card's.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        threads: torch threads; None takes the physical cores, and one on a cluster.
        dask: address of a Dask scheduler, or its scheduler file, whose workers run the model instead.
        resume: go on with the unfinished run of the same settings in ``out_dir``, if there is one.
        overwrite: replace results that are in ``out_dir``.
    """

    before: Source
    after: Source
    out_dir: Folder
    model: str = "tiny"
    bounds: BoundsGiven = None
    aoi: Source | None = None
    bands: Bands = None
    bands_after: Bands = None
    threshold: Probability | None = None
    min_area: Annotated[float, Field(ge=0)] = 0.0
    gsd: GroundSampling = None
    coregister: bool = False
    tile_size: Annotated[int, Field(ge=32)] | None = None
    overlap: Annotated[int, Field(ge=0)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    device: DeviceName = "auto"
    precision: Precision = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    dask: SourceOrWords | None = None
    resume: bool = False
    overwrite: bool = False


class EstimateRequest(DetectRequest):
    """What a detection would take; nothing is written."""

    out_dir: Folder = ""


class VectorizeRequest(Request):
    """Make the binary map and the polygons again at another threshold, without a model.

    Attributes:
        probability: a ``change_probability.tif``.
        out_dir: folder for ``change.tif`` and ``change.gpkg``.
        threshold: 0..1.
        min_area: m² below which a polygon is left out.
        overwrite: replace ``change.tif`` and ``change.gpkg`` there; other files are left alone.
    """

    probability: Source
    out_dir: Folder
    threshold: Probability = 0.5
    min_area: Annotated[float, Field(ge=0)] = 0.0
    overwrite: bool = False


def _joined(value: object) -> object:
    """Accept a list of kinds beside ``create,remove``."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


Kinds = Annotated[str, BeforeValidator(_joined)]


class EventRules(Request):
    """What may happen to a label map, and how much of it.

    Attributes:
        classes: CSV with index, name, colour; None takes the label raster's own table, else a built-in one.
        transitions: CSV with from, to; None takes the published table.
        object_classes: classes that are created and removed, by name or number, parted by commas; None takes
            ``building``, else all but the background.
        background: class that removal leaves, by name or number.
        least, most: number of objects created, and of objects removed, in a step.
        edit_probability: of each object to change its class.
        removal_probability: of each instance to go in a step, where there are no classes.
        seed: the same seed gives the same series.
    """

    classes: Source | None = None
    transitions: Source | None = None
    object_classes: str | None = None
    background: str = "0"
    least: Annotated[int, Field(ge=0)] = 1
    most: Annotated[int, Field(ge=0)] = 5
    edit_probability: Probability = 0.3
    removal_probability: Probability = 0.1
    seed: Seed = 0


class SimulateRequest(EventRules):
    """Let events happen to a label map.

    Attributes:
        labels: raster of class numbers, one band; with ``instances`` an image without labels.
        out_dir: folder for the outputs; must not hold anything unless ``overwrite``.
        steps: length of the series; None takes the largest step of drawn events.
        events: kinds to simulate (``create,remove,edit``) or a vector file of drawn events.
        instances: what stands on an image without labels, to be removed: a raster of instance numbers, a polygon layer,
            or ``auto``: regions of even colour.
        bands: one band or three of an image without labels, from 1; None chooses red, green, blue.
        overwrite: replace results that are in ``out_dir``.
    """

    labels: Source
    out_dir: Folder
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    events: Annotated[SourceOrWords, BeforeValidator(_joined)] = "create,remove,edit"
    instances: SourceOrWords | None = None
    bands: Bands = None
    overwrite: bool = False


class SynthesizeRequest(EventRules):
    """Draw the images that follow from change events.

    Attributes:
        image: the raster to start from; gives grid, bands, data type and nodata value of all images.
        out_dir: folder for the outputs; must not hold anything unless ``overwrite``.
        events: vector file of drawn events (polygons with event, to_class, step).
        simulate: kinds to simulate instead (``create,remove,edit``); without either, events are simulated.
        labels: raster of classes at the first date, warped to the image's grid; None: unknown everywhere.
        instances: what stands on an image without labels, to be removed: a raster of instance numbers or a polygon
            layer; None or ``auto``: regions of even colour.
        steps: length of the series; None takes the largest step of drawn events, else 1.
        patches: write changed blocks and a virtual raster for each step instead of whole copies.
        sampler: dpmpp, ddim or ddpm.
        sampling_steps: reverse steps of the diffusion.
        guidance_ratio: share of the reverse process that is held at the image before, 0..1.
        init: ``noise``, or ``exemplar``: start from an object or a patch of the wanted class; None takes what the
            model's card recommends.
        exemplar_level: share of the diffusion that an exemplar is noised to, 0..1; higher is freer.
        label_guidance: weight of the labels by classifier-free guidance, 1 to 10; it acts above a noise level of 0.3,
            so not on an exemplar that is noised less; 1 is none. None takes what the model's card recommends.
        model: name of an installed generator.
        bounds: left, bottom, right, top in the CRS of ``image``; crops the outputs.
        aoi: vector file whose polygons crop the outputs; outside them nothing happens.
        bands: one band or three that the model sees, from 1; None chooses red, green, blue.
        batch_size: windows at once on a GPU; on a CPU always one.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        threads: torch threads; None takes the physical cores.
        resume: go on after the last finished step of the same run in ``out_dir``, if there is one.
        overwrite: replace results that are in ``out_dir``.
    """

    image: Source
    out_dir: Folder
    events: Source | None = None
    simulate: Annotated[str | None, BeforeValidator(_joined)] = None
    labels: Source | None = None
    instances: SourceOrWords | None = None
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    patches: bool = False
    sampler: Literal["dpmpp", "ddim", "ddpm"] = "dpmpp"
    sampling_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_ratio: Probability = 1.0
    init: Literal["noise", "exemplar"] | None = None
    exemplar_level: Annotated[float, Field(gt=0, le=1)] = 0.2
    label_guidance: Annotated[float, Field(ge=1, le=10)] | None = None
    model: str = "tiny"
    bounds: BoundsGiven = None
    aoi: Source | None = None
    bands: Bands = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    device: DeviceName = "auto"
    precision: Precision = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    resume: bool = False
    overwrite: bool = False


class EstimateSynthesisRequest(SynthesizeRequest):
    """What a synthesis would take; nothing is written."""

    out_dir: Folder = ""


class GenerateRequest(EventRules):
    """Make a change data set of a folder of single-date images.

    Attributes:
        image_dir: folder of rasters of any size.
        out_dir: folder for the data set in the LEVIR-CD layout; must not hold anything unless ``overwrite``.
        pairs: how many.
        labels: folder of label rasters with the images' file names (the ending may differ).
        kind: ``S1`` objects that come and go, ``S9`` classes that change, ``S0`` regions of unlabelled images that
            vanish; None takes S1 where there are labels, else S0.
        size: pixels along a pair's side.
        pixel_size: metres, for images without CRS; None takes what suits the generator.
        gsd: metres that images are resampled to before they are cut: a number, ``auto`` for what suits the generator
            where an image's own pixels do not, None or ``none`` never.
        events: kinds of events of a pair, each with its weight (``create:2,remove:1``); ``create+remove`` lets both
            happen in one pair. None takes each that the kind of data set knows, one a pair.
        unchanged: share of pairs in which no object changes.
        least_change, most_change: share of the pixels that change in the other pairs.
        val_share: share of the images whose pairs are listed in ``list/val.txt``, at least one and not all unless it is
            0 or 1; of one image alone that share of its places, at one end.
        photometry: how much light, haze, sensor and compression differ between the dates, 0..1.
        season: how much the vegetation's colour differs, 0..1.
        misregistration: largest shift between the dates in pixels.
        view_shift: how far the highest objects lean apart between the dates, in pixels; None takes 1.5, and 0 for S0,
            which knows of no objects.
        surroundings: largest distance in pixels around a change over which the ground is drawn anew with it.
        distractors: most places a pair that are drawn anew although their class stays.
        model: name of an installed generator.
        sampler, sampling_steps, guidance_ratio, init, exemplar_level, label_guidance: as for ``SynthesizeRequest``.
        bands: one band or three, from 1; None chooses red, green, blue.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        workers: processes on this machine, each with one thread.
        dask: address of a Dask scheduler, or its scheduler file, whose workers draw instead.
        resume: go on with the unfinished run of the same settings in ``out_dir``, if there is one.
        overwrite: replace results that are in ``out_dir``.
    """

    image_dir: Folder
    out_dir: Folder
    pairs: Annotated[int, Field(ge=1)]
    labels: Source | None = None
    kind: Literal["S0", "S1", "S9"] | None = None
    size: Annotated[int, Field(ge=64, le=2048, multiple_of=32)] = 256
    pixel_size: Annotated[float, Field(gt=0)] | None = None
    gsd: GroundSampling = "auto"
    events: Kinds | None = None
    unchanged: Probability = 0.2
    least_change: Probability = 0.002
    most_change: Probability = 0.5
    val_share: Probability = 0.1
    photometry: Probability = 0.5
    season: Probability = 0.3
    misregistration: Annotated[float, Field(ge=0, le=16)] = 1.0
    view_shift: Annotated[float, Field(ge=0, le=16)] | None = None
    surroundings: Annotated[int, Field(ge=0, le=128)] = 8
    distractors: Annotated[int, Field(ge=0, le=16)] = 1
    model: str = "tiny"
    sampler: Literal["dpmpp", "ddim", "ddpm"] = "dpmpp"
    sampling_steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_ratio: Probability = 1.0
    init: Literal["noise", "exemplar"] | None = None
    exemplar_level: Annotated[float, Field(gt=0, le=1)] = 0.4
    label_guidance: Annotated[float, Field(ge=1, le=10)] | None = None
    bands: Bands = None
    device: DeviceName = "auto"
    precision: Precision = "auto"
    workers: Annotated[int, Field(ge=1)] = 1
    dask: SourceOrWords | None = None
    resume: bool = False
    overwrite: bool = False


class EvaluateRequest(Request):
    """Compare a change map with what is known.

    Attributes:
        prediction: a 0/1 change map or a change probability.
        reference: a raster whose non-zero valid pixels are change, or a polygon layer of changes; None with
            ``points`` alone.
        points: a point layer with a field ``reference``, 0 or 1; points without a label are left out.
            With ``map`` (the stratum each was drawn in) and ``stratum_pixels`` (its size) they may have been drawn on
            another state of the map.
        classes_before, classes_after: class maps of what is known, for a prediction with its own beside it.
        threshold: for a change probability.
        out_dir: folder for ``assessment.tif`` and ``assessment_manifest.json``; empty: numbers only.
        min_area: m² (pixels without CRS) below which places are not counted, known or reported.
        store: an installed model, in whose card the calibration is kept.
        overwrite: replace these two files there; other files are left alone.
    """

    prediction: Source
    reference: Source | None = None
    points: Source | None = None
    classes_before: Source | None = None
    classes_after: Source | None = None
    threshold: Probability = 0.5
    out_dir: Folder = ""
    min_area: Annotated[float, Field(ge=0)] = 0.0
    store: str = ""
    overwrite: bool = False


class FinetuneRequest(Request):
    """Train a detector further on pairs of one's own, and add it to the models under a new name.

    Attributes:
        out_dir: folder for the checkpoint, the log and the manifest; must not hold anything unless ``overwrite``.
        name: of the new model: small letters, digits, - and _.
        pairs: folder of pairs in the LEVIR-CD layout (A, B, label); or give the next three.
        before: raster that gives the grid.
        after: raster, warped to that grid.
        changes: polygons of all changes between them; those that a review of a detection rejected are none.
        aoi: polygons of the area that was looked through for changes; None: all of ``before``.
        bands, bands_after: one band or three of the rasters, from 1; None chooses red, green, blue.
        gsd: metres per pixel of the pairs; None takes the rasters' own, or what the files' names tell.
        object_class: the class to look for where the semantic maps of ``pairs`` hold classes; None leaves them out.
        kind: what changes, such as ``solar panels``; names the new model's class.
        title: of the new model; empty makes one from ``kind``.
        model: the installed detector to begin with.
        steps: length of the training; it ends sooner where the held-out pairs gain no more.
        batch_size: pairs a step.
        crop_size: pixels a side of what is seen at once, a multiple of 64.
        learning_rate: at its highest.
        seed: the same seed trains alike.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: torch threads; None takes the physical cores.
        resume: go on with the unfinished run of the same settings in ``out_dir``, if there is one.
        overwrite: replace what is in ``out_dir``, and a model of this name.
    """

    out_dir: Folder
    name: str
    pairs: Folder | None = None
    before: Source | None = None
    after: Source | None = None
    changes: Source | None = None
    aoi: Source | None = None
    bands: Bands = None
    bands_after: Bands = None
    gsd: Annotated[float, Field(gt=0)] | None = None
    object_class: Annotated[int, Field(ge=0, le=254)] | None = None
    kind: str = ""
    title: str = ""
    model: str = "tiny"
    steps: Annotated[int, Field(ge=1)] = 300
    batch_size: Annotated[int, Field(ge=1)] = 8
    crop_size: Annotated[int, Field(ge=64, multiple_of=64)] = 192
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    seed: Seed = 0
    device: DeviceName = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    resume: bool = False
    overwrite: bool = False


class SampleRequest(Request):
    """Draw the simulated sample scene (before and after GeoTIFF) into a folder.

    Attributes:
        out_dir: folder for it; must be new or empty.
        size: pixels along a side; only as many as there is memory for are drawn.
        seed: another one draws another place.
    """

    out_dir: Folder
    size: Annotated[int, Field(ge=128, le=8192)] = 1024
    seed: Seed = 7


class VerifyModelRequest(Request):
    """Compare an installed model with its digest."""

    name: str


class DownloadModelRequest(Request):
    """Fetch and install a published model.

    Attributes:
        name: of the model.
        accept_licence: the user agrees to the licence of its weights.
    """

    name: str
    accept_licence: bool = False


class ImportModelRequest(DownloadModelRequest):
    """Install a published model from a file.

    Attributes:
        path: the file, as published.
    """

    path: Source


class NoParameters(Request):
    """For requests that take none."""


class CancelRequest(Request):
    """Cancel the request with this id."""

    id: int | str


class Message(BaseModel):
    """One incoming line."""

    model_config = ConfigDict(extra="forbid")

    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    method: str
    params: dict[str, Any] = {}


def validate(schema: type[Request], params: dict[str, Any]) -> Any:
    """Check parameters against a schema.

    Raises:
        InputError: naming each parameter, its value and what is allowed.
    """
    try:
        return schema.model_validate(params)
    except ValidationError as error:
        raise refusal(schema, params, error) from error


def encode(message: dict[str, Any]) -> bytes:
    """Return one line of the wire."""
    return json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False, default=str).encode() + b"\n"


def error_body(error: Changen2Error) -> dict[str, Any]:
    """Return a JSON-RPC error for one of our own."""
    code = BAD_INPUT if isinstance(error, InputError) else CANCELLED if isinstance(error, Cancelled) else JOB_FAILED
    return {"code": code, "message": redact(error.message), "data": {"code": error.code, "hint": redact(error.hint)}}
