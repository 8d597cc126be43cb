"""Whether a worker finds the raster under a path that the run began with there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache

from changen2.errors import JobError
from changen2.paths import local_file
from changen2.raster.reading import open_raster


@dataclass(frozen=True)
class SeenFile:
    """A raster as the run began with it: what any copy of it has in common, so not the time of its last change.

    Attributes:
        path: the same for every process.
        bytes: of a file, None of a folder, whose size its file system makes up, and of what GDAL alone can find.
        width, height: pixels.
        dtypes: of its bands.
        transform: six numbers of its affine transform.
    """

    path: str
    bytes: int | None
    width: int
    height: int
    dtypes: tuple[str, ...]
    transform: tuple[float, ...]

    @classmethod
    def at(cls, path: str) -> SeenFile:
        """The raster that this process finds under a path.

        Raises:
            InputError: as of :func:`open_raster`.
        """
        file = local_file(path)
        with open_raster(path) as dataset:
            return cls(
                path=path,
                bytes=file.stat().st_size if file and file.is_file() else None,
                width=dataset.width,
                height=dataset.height,
                dtypes=tuple(dataset.dtypes),
                transform=tuple(dataset.transform)[:6],
            )

    def check(self) -> None:
        """Refuse to work on another raster; a file is opened once a process, and again where it has changed.

        Raises:
            JobError: ``other_input``.
            InputError: there is none.
        """
        file = local_file(self.path)
        if file and file.is_file():
            state = file.stat()
            _check_file(self, state.st_size, state.st_mtime_ns)
        else:
            self._check()

    def _check(self) -> None:
        if (here := SeenFile.at(self.path)) != self:
            raise JobError(
                f"{self.path} on {socket.gethostname()} is not what the run began with: it has {here._told()}, and the "
                f"other had {self._told()}.",
                hint="Give every machine the same files (a shared folder, or new copies), and go on with --resume.",
                code="other_input",
            )

    def _told(self) -> str:
        corner = ", ".join(f"{number:.10g}" for number in self.transform)
        size = "" if self.bytes is None else f"{self.bytes} bytes, "
        return f"{size}{self.width} × {self.height} pixels of {'/'.join(dict.fromkeys(self.dtypes))} at ({corner})"


@lru_cache(maxsize=4096)
def _check_file(seen: SeenFile, size: int, modified_ns: int) -> None:
    seen._check()
