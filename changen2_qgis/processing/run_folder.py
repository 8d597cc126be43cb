"""The output folder of a run, the inputs that are written into it, and a note of what each was made of."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import BackendError, InputError
from ..run_folders import INPUTS_FOLDER, is_unfinished


class RunFolder:
    """The output folder of a run and, inside it, a folder for inputs that had to be written.

    Args:
        path: the output folder; made when first needed.
        overwrite: whether the user allows results that are there to be replaced.
        resume: whether the run goes on with an unfinished one that is there, and so with its inputs.
        keep_inputs: whether the inputs of an unfinished run are kept with it, for `kept` to find.
        part: of the folder for inputs, of a run whose results come beside those of another one.
    """

    def __init__(
        self, path: Path, overwrite: bool, resume: bool = False, keep_inputs: bool = False, part: str = ""
    ) -> None:
        self.path = path
        self.inputs = path / INPUTS_FOLDER / part
        self.layers: dict[str, str] = {}
        """By name in `inputs`, without its ending, of a file: the layer that it was or will be written for."""
        self._origins: dict[Path, str] = {}  # of inputs that are being written
        self._keep_inputs = keep_inputs
        self._resume = resume and is_unfinished(path)
        self._made = not path.exists()
        self._mine = self._written() if self._resume else {}
        self.overwrite = overwrite

    def kept(self, target: Path, origin: str) -> str | None:
        """An input that an unfinished run has, with which this one goes on; None where it is to be written.

        Args:
            target: the file, in `inputs`.
            origin: all that it is made of, as a text that is noted beside it.

        Raises:
            InputError: `other_job` where the unfinished run's was made of something else.
        """
        if not (self._resume and target.exists()):
            self._origins[target] = origin
            return None
        note = _note_beside(target)
        if not note.exists() or note.read_text(encoding="utf8") != origin:
            name = target.relative_to(self.inputs).with_suffix("")
            raise InputError(
                f"The unfinished run in {self.path} differs from this one in: "
                f"{name.parts[0]} “{self.layers.get(str(name), target.name)}”.",
                "Give the layer that it was begun with, as it was then, or start anew in another output folder. "
                "“Continue an unfinished run” goes on with a detection or synthesis without its layers.",
                "other_job",
            )
        return str(target)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """What is new in `inputs` after this is the run's own; another may have been prepared for the same folder.

        Raises:
            InputError: `not_empty` where it was, and nobody has allowed to replace its inputs: a run that is unfinished
                could not be continued with others, and a finished one would no longer be what they say.
        """
        there = self._written()
        if not (self.overwrite or self._resume) and there.keys() - self._mine.keys():
            raise InputError(
                f"{self.inputs} holds what was written for another run to read.",
                "Continue that run, allow its results to be replaced, or choose another output folder.",
                "not_empty",
            )
        try:
            yield
            for target in [target for target in self._origins if target.exists()]:
                _note_beside(target).write_text(self._origins.pop(target), encoding="utf8")
        finally:
            self._mine.update({path: state for path, state in self._written().items() if path not in there})

    def _written(self) -> dict[Path, tuple[int, int]]:
        """The files in `inputs`, each with its time and size."""
        files = [path for path in self.inputs.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    @contextlib.contextmanager
    def removed_on_error(self) -> Iterator[None]:
        """Leave nothing of the run's own behind when it fails or is cancelled, but what the backend can go on from.

        It goes on only with the very same files; its work folder is its own. What it says of written inputs is said of
        their layers.
        """
        try:
            yield
        except BaseException as error:
            if isinstance(error, BackendError):
                error.message = self._with_layers(error.message)
            self._remove()
            raise

    def _remove(self) -> None:
        """Remove the inputs that this run wrote and nobody has replaced, and the folders that are empty then."""
        if not (self._keep_inputs and is_unfinished(self.path)):
            there = self._written()
            for path in [path for path, state in self._mine.items() if there.get(path) == state]:
                for file in path.parent.glob(f"{path.name}*"):  # what GDAL notes beside it, too
                    with contextlib.suppress(OSError):  # somebody has it open
                        file.unlink()
        inside = sorted((path for path in self.inputs.rglob("*") if path.is_dir()), reverse=True)
        for folder in [
            *inside,
            self.inputs,
            self.path / INPUTS_FOLDER,
            *([self.path] if self._made or self._resume else []),
        ]:
            with contextlib.suppress(OSError):  # it is none, or holds something
                folder.rmdir()

    def _with_layers(self, message: str) -> str:
        for name, layer in self.layers.items():
            file = re.escape(str(self.inputs / name)) + r"\.\w+"
            message = re.sub(file, lambda _, layer=layer: f"“{layer}”", message)
        return message


def _note_beside(target: Path) -> Path:
    return target.with_name(f"{target.name}.origin")
