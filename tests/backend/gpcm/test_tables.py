"""Class tables and transition tables."""

from pathlib import Path

import pytest

from changen2.errors import InputError
from changen2.gpcm.classes import AERIAL, OPEN_EARTH_MAP, ClassTable
from changen2.gpcm.transitions import (
    AERIAL_TRANSITIONS,
    OPEN_EARTH_MAP_TRANSITIONS,
    default_transitions,
    read_transitions,
)
from changen2.scenes.classes import CLASSES


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_published_transitions() -> None:
    assert default_transitions(OPEN_EARTH_MAP) is OPEN_EARTH_MAP_TRANSITIONS
    assert OPEN_EARTH_MAP_TRANSITIONS[4] == (1, 3, 5, 6)
    assert OPEN_EARTH_MAP_TRANSITIONS[8] == (3, 5, 6)
    for table, classes in ((OPEN_EARTH_MAP_TRANSITIONS, OPEN_EARTH_MAP), (AERIAL_TRANSITIONS, AERIAL)):
        assert set(table) == set(classes.names)
        assert all(source not in targets for source, targets in table.items())


def test_the_scenes_classes_are_the_aerial_ones() -> None:
    assert {index: (name, AERIAL.colours[index]) for index, name in AERIAL.names.items()} == CLASSES


def test_reading_classes(tmp_path: Path) -> None:
    table = ClassTable.read(written(tmp_path / "c.csv", "Index,Name,Colour\n0,none,\n1,Roof,#ff0080\n"))
    assert table.names == {0: "none", 1: "Roof"}
    assert table.colours[1] == (255, 0, 128)
    assert table.resolve("roof") == table.resolve("1") == table.resolve(1.0) == 1
    with pytest.raises(InputError, match=r"no class 'wall'.*1 Roof"):
        table.resolve("wall")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,label\n1,a\n", "name is missing"),
        ("index,name\n", "no row"),
        ("index,name\n300,a\n", "'300' is no class index"),
        ("index,name\n1,a\n1,b\n", "twice"),
        ("index,name,colour\n1,a,red\n", "'red' is no colour"),
    ],
)
def test_bad_class_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassTable.read(written(tmp_path / "c.csv", text))


def test_reading_transitions(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "from,to\nbuilding,tree water\n8,developed space\n1,2\n")
    assert read_transitions(path, OPEN_EARTH_MAP) == {8: (5, 6, 3), 1: (2,)}
    with pytest.raises(InputError, match="itself"):
        read_transitions(written(tmp_path / "u.csv", "from,to\n1,1\n"), OPEN_EARTH_MAP)
    with pytest.raises(InputError, match="no class 'lava'"):
        read_transitions(written(tmp_path / "v.csv", "from,to\n1,lava\n"), OPEN_EARTH_MAP)


def test_unknown_classes_need_a_table_of_their_own() -> None:
    with pytest.raises(InputError, match="no built-in transition table"):
        default_transitions(ClassTable({0: "a", 1: "b"}, {}))
