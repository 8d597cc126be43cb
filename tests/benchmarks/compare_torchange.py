"""Side by side with `torchange` 0.0.4: same machine, same weights, same inputs, in turns.

    python tests/benchmarks/compare_torchange.py OURS THEIRS [--check] [--cases changestar-vitb-s1c1:512 …]

OURS and THEIRS are Python interpreters: one that imports `changen2`, and one of a venv of its own with
torchange==0.0.4, torch==2.14.1 and torchvision==0.29.1. A case is ``model:size`` or, with nine label channels,
``rsdit-s2-labels9:size``; the size is that of the image in pixels, square, for torchange takes no other.

Both processes stay alive and take turns, so that noise from other work on the machine falls on both; the best of
the repeats counts. On a machine that is never quiet, ``--threads 1 --cpu-time`` counts processor time. For RS-DiT the
figure is a sampling run of 20 steps, made up from one embedding of the labels (ours; torchange embeds them at every
step) and the mean of a few steps. ``--check`` compares numbers instead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "backend" / "models"))
import rebuilt_weights

STEPS = 20  # of a sampling run
TIMED_STEPS = 2  # of them are timed
SPEED_CASES = ["changestar-vitb-s1c1:512", "changestar-vitb-s1c1:1024", "rsdit-b2:512", "rsdit-b2:1024"]
CHECK_CASES = [
    *("changestar-vitb-s1c1:256", "changestar-vitl-s1c1:256", "changestar-vitb-s9c1:320", "changestar-vitb-s1c5:256"),
    *("rsdit-s2-labels9:256", "rsdit-b2-labels9:256", "rsdit-l2:256", "rsdit-xl2:256"),
]


def build_ours(model: str, labels: int) -> Any:
    """Build our model by its published name, with rebuilt weights."""
    from dataclasses import replace

    import torch

    from changen2.models.changestar import ChangeStar
    from changen2.models.published import CHANGESTAR_KINDS, load_published
    from changen2.models.rsdit import RSDIT_SIZES, RSDiT
    from changen2.models.sam_vit import VIT_SIZES

    with torch.device("meta"):
        if model.startswith("rsdit"):
            bare: Any = RSDiT(replace(RSDIT_SIZES[model.removeprefix("rsdit-")], label_channels=labels))
        else:
            kind = CHANGESTAR_KINDS[model]
            bare = ChangeStar(VIT_SIZES[kind.encoder], kind.semantic_classes, kind.change_classes)
    return load_published(model, rebuilt_state(bare)).to(memory_format=torch.channels_last)


def build_theirs(model: str, labels: int) -> Any:
    """Build torchange's model of the same kind, with the same weights."""
    from torchange.models import changen2

    if model.startswith("rsdit"):
        size = model.removeprefix("rsdit-").upper().replace("2", "_2")
        bare = getattr(changen2, f"RSDiT_{size}")(label_channels=labels)
    else:
        _, encoder, kind = model.split("-")
        bare = changen2.changestar_1x256(encoder, kind)
    bare.load_state_dict(rebuilt_state(bare))
    return bare.eval()


def rebuilt_state(model: Any) -> dict[str, Any]:
    """Rebuild the parameters of a model from their names and shapes."""
    import torch

    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    return {name: torch.from_numpy(array) for name, array in rebuilt_weights.rebuilt(shapes).items()}


class Worker:
    """One side of the comparison, in its own process: a line of JSON in, a line of JSON out."""

    def __init__(self, side: str, threads: int, clock: Callable[[], float]) -> None:
        import torch

        torch.set_num_threads(threads)
        self.side = side
        self.clock = clock
        self.kept: tuple[str, Any] = ("", None)

    def model(self, name: str) -> Any:
        """Build a model, or return the last one."""
        if self.kept[0] != name:
            self.kept = ("", None)
            base, _, labels = name.partition("-labels")
            self.kept = (name, (build_ours if self.side == "ours" else build_theirs)(base, int(labels or 1)))
        return self.kept[1]

    def serve(self, answers: Any) -> None:
        """Answer requests until standard input ends."""
        import torch

        for line in sys.stdin:
            request = json.loads(line)
            bf16 = torch.autocast("cpu", torch.bfloat16) if request["precision"] == "bf16" else nullcontext()
            with torch.inference_mode(), bf16:
                run = self.sampling if request["model"].startswith("rsdit") else self.detection
                seconds, outputs = run(self.model(request["model"]), request["model"], request["size"])
            if request["save"]:
                np.savez(request["save"], **{name: value.float().numpy() for name, value in outputs.items()})
            print(json.dumps({"seconds": seconds}), file=answers, flush=True)

    def detection(self, model: Any, name: str, size: int) -> tuple[float, dict[str, Any]]:
        """Time one pair."""
        import torch

        x = torch.from_numpy(rebuilt_weights.pair(size, size))
        start = self.clock()
        if self.side == "ours":
            out = model(x[:, :3], x[:, 3:])
            outputs = {key: out[key] for key in ("change", "semantic_before", "semantic_after")}
        else:
            out = model(x)
            outputs = {
                "change": out.change_prediction,
                "semantic_before": out.t1_semantic_prediction,
                "semantic_after": out.t2_semantic_prediction,
            }
        return self.clock() - start, outputs

    def sampling(self, model: Any, name: str, size: int) -> tuple[float, dict[str, Any]]:
        """Time a few steps on one image and reckon with twenty."""
        import torch

        labels = int(name.partition("-labels")[2] or 1)
        x, t, y = (torch.from_numpy(array)[:1] for array in rebuilt_weights.latents(size // 8, size // 8, labels))
        start = self.clock()
        condition = {"label_embedding": model.embed_labels(y)} if self.side == "ours" else {"y": y}
        embedded = self.clock()
        for _ in range(TIMED_STEPS):
            output = model(x, t, **condition)
        step = (self.clock() - embedded) / TIMED_STEPS
        return embedded - start + STEPS * step, {"output": output}


class Side:
    """A worker process and the way to ask it."""

    def __init__(self, side: str, python: str, threads: int, cpu_time: bool) -> None:
        command = [python, "-W", "ignore", __file__, "--worker", side, "--threads", str(threads), "-", "-"]
        command += ["--cpu-time"] if cpu_time else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, case: str, precision: str, save: str = "") -> float:
        """Run a case and return its seconds."""
        assert self.process.stdin and self.process.stdout
        model, _, size = case.partition(":")
        request = {"model": model, "size": int(size), "precision": precision, "save": save}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{case} failed; its process ended with {self.process.wait()}.")
        return json.loads(answer)["seconds"]


def check(ours: Side, theirs: Side, cases: list[str]) -> None:
    """Print the largest absolute difference of each output."""
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            paths = [str(Path(folder) / f"{name}.npz") for name in ("ours", "theirs")]
            for side, path in zip((ours, theirs), paths, strict=True):
                side.ask(case, "fp32", save=path)
            a, b = (np.load(path) for path in paths)
            print(case, {key: f"{np.abs(a[key] - b[key]).max():.1e}" for key in b.files}, flush=True)


def race(ours: Side, theirs: Side, cases: list[str], precisions: list[str], repeats: int) -> None:
    """Print the seconds of both sides and their ratio."""
    print("case, precision, ours s, torchange s, ratio, ratio to torchange fp32")
    for case in cases:
        fp32 = float("nan")
        for precision in precisions:
            times: dict[str, list[float]] = {"ours": [], "theirs": []}
            for turn in range(repeats + 1):  # the first round warms up
                for name, side in (("ours", ours), ("theirs", theirs))[:: 1 if turn % 2 else -1]:
                    times[name].append(side.ask(case, precision))
            a, b = min(times["ours"][1:]), min(times["theirs"][1:])
            fp32 = b if precision == "fp32" else fp32
            print(f"{case}, {precision}, {a:.2f}, {b:.2f}, {a / b:.2f}, {a / fp32:.2f}", flush=True)


def main() -> None:
    """Parse the command line; be the parent or a worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ours")
    parser.add_argument("theirs")
    parser.add_argument("--worker", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="compare numbers, not times")
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="count processor time; sensible with --threads 1")
    arguments = parser.parse_args()
    if arguments.worker:
        answers = sys.stdout
        sys.stdout = sys.stderr  # libraries print; standard output is for answers alone
        clock = time.process_time if arguments.cpu_time else time.perf_counter
        Worker(arguments.worker, arguments.threads, clock).serve(answers)
        return
    ours = Side("ours", arguments.ours, arguments.threads, arguments.cpu_time)
    theirs = Side("theirs", arguments.theirs, arguments.threads, arguments.cpu_time)
    if arguments.check:
        check(ours, theirs, arguments.cases or CHECK_CASES)
    else:
        race(ours, theirs, arguments.cases or SPEED_CASES, arguments.precisions, arguments.repeats)


if __name__ == "__main__":
    main()
