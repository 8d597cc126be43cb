"""Names by which pyogrio gives vector files to GDAL as they are.

It takes what stands before a ``!`` for an archive, and drops tabs and whatever an address would not hold: of the folder
``what!/now`` the rest would be a file below the working folder, if there is one, to be read and written over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pyogrio.util import vsi_path


@contextmanager
def for_pyogrio(path: str | Path) -> Iterator[str]:
    """Give a name to hand to pyogrio, for as long as the file is read or written; mostly the path itself.

    Args:
        path: of a file on this machine, or what GDAL alone can tell, which stays as it is.
    """
    given = str(path)
    if not _is_misread(given) or not os.path.isdir(os.path.dirname(given) or "."):  # noqa: PTH112, PTH120 - may be none
        yield given
        return
    with ExitStack() as links:
        name = _by_link(Path(given), links)
        if name is None or _is_misread(name):
            # Only to be read, and without a journal beside it: GDAL would not write there.
            name = f"/vsizip/{given}" if given.endswith(".zip") else f"/vsisubfile/0,{given}"
        yield name


def _is_misread(path: str) -> bool:
    try:
        return vsi_path(path) not in (path, f"/vsizip/{path}")
    except ValueError:  # as in //[
        return True


def _by_link(path: Path, links: ExitStack) -> str | None:
    """The file in a link to its folder, which holds what lies beside it, too; None where links are not to be had."""
    try:
        link = Path(links.enter_context(TemporaryDirectory()), "folder")
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
    except OSError:
        return None
    return str(link / path.name)
