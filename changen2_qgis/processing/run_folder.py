"""The output folder of a run, and the inputs that are written into it."""

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
        self._keep_inputs = keep_inputs
        self._resume = resume and is_unfinished(path)
        self._made = not path.exists()
        self._mine = self._written() if self._resume else {}
        self.overwrite = overwrite

    def kept(self, name: str) -> str | None:
        """The input of that name in `inputs`, if the run goes on with an unfinished one that has it."""
        target = self.inputs / name
        return str(target) if self._resume and target.exists() else None

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
