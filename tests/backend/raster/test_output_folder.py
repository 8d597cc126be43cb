"""What may lie in an output folder before a run, what a run that fails leaves there, and who may work in it."""

import errno
import os
import shutil
import sqlite3
from contextlib import ExitStack, closing, nullcontext, suppress
from pathlib import Path

import pytest

from changen2.errors import Cancelled, InputError, JobError
from changen2.raster.output_folder import INPUTS_FOLDER, OutputFolder
from changen2.raster.writing import disk_errors


def begun(work):
    """Whether a work folder holds something to go on from."""
    return (work / "step").exists()


def test_inputs_that_a_caller_wrote_for_the_run_are_no_results(tmp_path):
    (tmp_path / INPUTS_FOLDER).mkdir()
    (tmp_path / INPUTS_FOLDER / "events.gpkg").write_text("drawn")
    with OutputFolder(tmp_path) as folder:
        (folder.work / "image_t1.tif").write_text("pixels")
        folder.publish(["image_t1.tif"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image_t1.tif", INPUTS_FOLDER]


def test_they_stay_for_the_run_to_go_on_with(tmp_path):
    (tmp_path / INPUTS_FOLDER).mkdir()
    with pytest.raises(OSError), OutputFolder(tmp_path, resumable=begun) as folder:
        (folder.work / "step").write_text("1")
        raise OSError("no space left")
    with OutputFolder(tmp_path, resume=True, resumable=begun) as folder:
        assert (folder.work / "step").read_text() == "1"


def test_results_beside_them_are_protected(tmp_path):
    (tmp_path / INPUTS_FOLDER).mkdir()
    (tmp_path / "image_t1.tif").write_text("precious")
    with pytest.raises(InputError) as caught:
        OutputFolder(tmp_path)
    assert caught.value.code == "not_empty"


def test_a_run_that_fails_removes_the_folders_it_made_and_nobody_else_has_used(tmp_path):
    with pytest.raises(JobError), OutputFolder(tmp_path / "made/here/one"):
        raise JobError("it failed")
    assert not (tmp_path / "made").exists()

    first, second = OutputFolder(tmp_path / "out/1"), OutputFolder(tmp_path / "out/2")
    with pytest.raises(JobError), first:
        with second:
            (second.work / "change.tif").write_text("pixels")
            second.publish(["change.tif"])
        raise JobError("the first failed after the second was done")
    assert not (tmp_path / "out/1").exists()
    assert (tmp_path / "out/2/change.tif").read_text() == "pixels"


def test_one_run_at_a_time_works_in_a_folder(tmp_path):
    with OutputFolder(tmp_path, overwrite=True) as folder:
        (folder.work / "half").write_text("done")
        with pytest.raises(InputError) as caught, OutputFolder(tmp_path, overwrite=True):
            pass
        assert caught.value.code == "busy"
        assert (folder.work / "half").read_text() == "done"
    assert list(tmp_path.iterdir()) == []
    with OutputFolder(tmp_path):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_results_of_a_run_that_has_ended_since_the_look_are_not_replaced(tmp_path, resume):
    with OutputFolder(tmp_path) as first:
        late = OutputFolder(tmp_path, resume=resume, resumable=begun)
        (first.work / "change.tif").write_text("the first's")
        first.publish(["change.tif"])
    with pytest.raises(InputError, match=r"holds change\.tif") as caught, late:
        pytest.fail("it began")
    assert caught.value.code == "not_empty"
    assert [path.name for path in tmp_path.iterdir()] == ["change.tif"]
    with OutputFolder(tmp_path, overwrite=True):  # nobody is at work any more
        assert (tmp_path / "change.tif").read_text() == "the first's"


def test_what_a_run_that_has_stopped_since_the_look_has_finished_is_not_lost(tmp_path):
    with pytest.raises(JobError), OutputFolder(tmp_path, resumable=begun) as first:
        late = OutputFolder(tmp_path, resumable=begun)
        (first.work / "step").write_text("500")
        raise JobError("it failed")
    with pytest.raises(InputError, match="unfinished run") as caught, late:
        pytest.fail("it began")
    assert caught.value.code == "not_empty"
    with OutputFolder(tmp_path, resume=True, resumable=begun) as folder:
        assert folder.goes_on and (folder.work / "step").read_text() == "500"


def unfinished(path):
    """Leave an unfinished run."""
    with pytest.raises(JobError), OutputFolder(path, resumable=begun) as folder:
        (folder.work / "step").write_text("1")
        raise JobError("it failed")
    return folder.work / "step"


def test_a_job_that_adds_files_leaves_an_unfinished_run_alone(tmp_path):
    step = unfinished(tmp_path)
    with OutputFolder(tmp_path, replaces=["change.tif"]) as folder:
        (folder.work / "change.tif").write_text("pixels")
        folder.publish(["change.tif"])
    assert step.read_text() == "1" and (tmp_path / "change.tif").exists()


def test_an_unfinished_run_of_another_kind_is_not_lost_by_accident(tmp_path):
    step = unfinished(tmp_path)
    for resume in (False, True):
        with pytest.raises(InputError, match="another kind") as caught:
            OutputFolder(tmp_path, resume=resume, resumable=lambda work: False, unfinished=begun)
        assert caught.value.code == "not_empty"
    assert step.exists()
    with OutputFolder(tmp_path, overwrite=True, unfinished=begun):
        assert not step.exists()


def test_a_run_that_was_allowed_to_replace_results_may_do_so_when_it_goes_on(tmp_path):
    (tmp_path / "change.tif").write_text("old")
    with pytest.raises(JobError), OutputFolder(tmp_path, overwrite=True, resumable=begun) as folder:
        (folder.work / "step").write_text("1")
        raise JobError("it failed")
    with OutputFolder(tmp_path, resume=True, resumable=begun) as folder:
        assert folder.goes_on
        (folder.work / "change.tif").write_text("new")
        folder.publish(["change.tif"])
    assert (tmp_path / "change.tif").read_text() == "new"


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "error", [InputError("no weights", code="missing_file"), JobError("lost"), ValueError("a bug")]
)
def test_what_is_finished_stays_whatever_goes_wrong_with_the_rest(tmp_path, error, finished):
    with pytest.raises(type(error)), OutputFolder(tmp_path / "run", resumable=begun) as folder:
        (folder.work / ("step" if finished else "half")).write_text("1")
        raise error
    assert (folder.work / "step").exists() is (tmp_path / "run").exists() is finished


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_and_what_is_finished_stays(tmp_path, number):
    with (
        pytest.raises(JobError, match=f"run cannot be written.*{os.strerror(number)}") as caught,
        OutputFolder(tmp_path / "run", resumable=begun) as folder,
    ):
        (folder.work / "step").write_text("1")
        raise OSError(number, os.strerror(number))
    assert caught.value.code == "disk" and (folder.work / "step").exists()


@pytest.mark.parametrize("error", [ConnectionError("reset"), TypeError("a bug"), RuntimeError("a bug")])
def test_what_is_no_matter_of_the_disk_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught, OutputFolder(tmp_path / "run"):
        raise error
    assert caught.value is error


def system_error(number, path):
    return OSError(number, os.strerror(number), str(path))


@pytest.mark.parametrize("again", ["--resume", "run it again"])
@pytest.mark.parametrize("what", ["system", "gdal", "explained"])
def test_a_folder_that_is_taken_away_is_said(tmp_path, what, again):
    resumable = {"resumable": begun} if again == "--resume" else {}
    with (
        pytest.raises(JobError, match="cannot be reached any more") as caught,
        OutputFolder(tmp_path / "run", **resumable) as folder,
    ):
        (folder.work / "step").write_text("1")
        shutil.rmtree(folder.path)
        if what == "gdal":
            raise TypeError("change.tif: No such file or directory")
        with disk_errors(folder.work) if what == "explained" else nullcontext():
            (folder.work / "carry").mkdir()
    assert caught.value.code == "disk" and str(tmp_path / "run") in caught.value.message
    assert again in caught.value.hint and not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV])
def test_a_drive_that_fails_is_said_and_what_is_finished_stays(tmp_path, number):
    with (
        pytest.raises(JobError, match="run cannot be reached any more") as caught,
        OutputFolder(tmp_path / "run", resumable=begun) as folder,
    ):
        (folder.work / "step").write_text("1")
        raise system_error(number, folder.work / "map.raw.tif")
    assert caught.value.code == "disk" and (folder.work / "step").exists()


@pytest.mark.parametrize("error", [Cancelled(), InputError("the input is gone"), KeyboardInterrupt()])
def test_what_is_said_otherwise_is_said_also_of_a_folder_that_is_away(tmp_path, error):
    with pytest.raises(type(error)) as caught, OutputFolder(tmp_path / "run") as folder:
        shutil.rmtree(folder.path)
        raise error
    assert caught.value is error


def test_a_file_that_is_missing_elsewhere_is_no_matter_of_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), OutputFolder(tmp_path / "run"):
        raise system_error(errno.ENOENT, tmp_path / "elsewhere")


@pytest.fixture
def held_open(monkeypatch):
    """Files that cannot be renamed, as on Windows while a program has them open: ``held_open(name, …)``."""
    replace, held = Path.replace, set()

    def refused(self, target):
        if self.name in held:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self), None, str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    return held.update


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("held", ["change.tif", "change.gpkg", "A", "manifest.json"])
@pytest.mark.parametrize("finished", [True, False])
def test_results_are_replaced_all_or_none(tmp_path, held_open, held, finished):
    def fill(folder, text):
        (folder / "A").mkdir()
        for name in names:
            (folder / name / "1.png" if name == "A" else folder / name).write_text(text)

    names = ["change.tif", "A", "change.gpkg", "manifest.json"]
    fill(tmp_path, "old")
    (tmp_path / "A/2.png").write_text("old")
    before = files(tmp_path)
    held_open([held])
    with (
        pytest.raises(JobError, match=f"{held} in .* cannot be replaced") as caught,
        OutputFolder(tmp_path, overwrite=True, resumable=begun) as folder,
    ):
        fill(folder.work, "new")
        if finished:
            (folder.work / "step").write_text("1")
        folder.publish(names)
    assert caught.value.code == "in_use" and "QGIS" in caught.value.hint
    assert ("--resume" in caught.value.hint) is finished
    there = files(tmp_path)
    assert {name: text for name, text in there.items() if not name.startswith(".")} == before
    assert there.get(".changen2-work/change.gpkg") == ("new" if finished else None)


def test_what_was_replaced_is_gone_once_all_is_in_place(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A/2.png").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with OutputFolder(tmp_path, overwrite=True) as folder:
        (folder.work / "A").mkdir()
        (folder.work / "A/1.png").write_text("new")
        folder.publish(["A"])
    assert files(tmp_path) == {"A/1.png": "new", "mine.txt": "mine"}


def test_a_file_that_is_missing_takes_none_of_the_others_with_it(tmp_path):
    (tmp_path / "change.tif").write_text("old")
    with pytest.raises(FileNotFoundError), OutputFolder(tmp_path, overwrite=True) as folder:
        (folder.work / "change.tif").write_text("new")
        folder.publish(["change.tif", "change.gpkg"])
    assert files(tmp_path) == {"change.tif": "old"}


@pytest.mark.parametrize("held", [None, "old.tif", "new.tif"])
def test_what_is_older_goes_when_the_new_files_come(tmp_path, held_open, held):
    for name in ("change.tif", "old.tif", "only/old.tif", "both/old.tif", "both/mine.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    before = files(tmp_path)
    held_open([held])
    with nullcontext() if held is None else pytest.raises(JobError), OutputFolder(tmp_path, overwrite=True) as folder:
        for name in ("change.tif", "new.tif"):
            (folder.work / name).write_text("new")
        placed = folder.publish(
            ["change.tif", "new.tif"], ["change.tif", "old.tif", "only/old.tif", "both/old.tif", "gone.tif"]
        )
    if held is None:
        assert list(placed) == ["change.tif", "new.tif"] and not (tmp_path / "only").exists()
        before = {"change.tif": "new", "new.tif": "new", "both/mine.tif": "old"}
    assert files(tmp_path) == before


@pytest.fixture
def edited(tmp_path):
    """A database with a change that is not in its file yet, as QGIS holds it open: ``edited(name)``."""
    with ExitStack() as stack:

        def edit(name, values=(1,)):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            database = stack.enter_context(closing(sqlite3.connect(tmp_path / name, isolation_level=None)))
            database.execute("pragma journal_mode=wal")
            database.execute("create table change (review)")
            database.execute("pragma wal_checkpoint(truncate)")
            for value in values:
                database.execute("insert into change values (?)", (value,))
            return database

        yield edit


def database(path, values):
    with closing(sqlite3.connect(path)) as made:
        made.execute("create table change (review)")
        made.executemany("insert into change values (?)", [(value,) for value in values])
        made.commit()


@pytest.mark.parametrize("name", ["change.gpkg", "old/change.gpkg"])
@pytest.mark.parametrize("late", [False, True])
def test_edits_that_are_not_in_the_file_yet_are_not_lost(tmp_path, edited, name, late):
    def run():
        with OutputFolder(tmp_path, overwrite=True, results=r"(old/)?change\.gpkg", resumable=begun) as folder:
            (folder.work / "step").write_text("1")
            database(folder.work / "change.gpkg", range(2000))
            if late:
                opened.append(edited(name))
            folder.publish(["change.gpkg"], ["old/change.gpkg"])

    opened = [] if late else [edited(name)]
    with pytest.raises(InputError, match=r"change\.gpkg-wal holds changes") as caught:
        run()
    assert caught.value.code == "in_use" and "QGIS" in caught.value.hint
    assert begun(tmp_path / ".changen2-work") is late  # else refused before the work
    opened[0].close()
    with closing(sqlite3.connect(tmp_path / name)) as saved:
        assert saved.execute("select review from change").fetchall() == [(1,)]
    late = False
    run()
    with closing(sqlite3.connect(tmp_path / "change.gpkg")) as new:
        assert new.execute("select count(*) from change").fetchall() == [(2000,)]


def test_a_database_that_is_only_shown_is_replaced_with_what_lies_beside_it(tmp_path, edited):
    shown = edited("change.gpkg", values=())
    assert (tmp_path / "change.gpkg-wal").exists() and (tmp_path / "change.gpkg-shm").exists()
    with OutputFolder(tmp_path, overwrite=True) as folder:
        database(folder.work / "change.gpkg", range(2000))
        folder.publish(["change.gpkg"])
    assert [path.name for path in tmp_path.iterdir()] == ["change.gpkg"]
    shown.close()
    with closing(sqlite3.connect(tmp_path / "change.gpkg")) as new:
        assert new.execute("select count(*) from change").fetchall() == [(2000,)]
        assert new.execute("pragma integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_what_is_left_of_a_database_that_is_gone_is_named(tmp_path, end):
    (tmp_path / f"change.gpkg{end}").write_text("changes")
    with pytest.raises(InputError, match=end) as caught:
        OutputFolder(tmp_path, replaces=["change.gpkg"])
    assert caught.value.code == "in_use"


def test_edits_of_what_is_not_replaced_are_nobodys_concern(tmp_path, edited):
    edited("change_display_1a2b3c4d.gpkg")
    edited("inputs/drawn.gpkg")
    with OutputFolder(tmp_path, overwrite=True, results=r"change\.gpkg") as folder:
        database(folder.work / "change.gpkg", [1])
        folder.publish(["change.gpkg"])
    assert (tmp_path / "change_display_1a2b3c4d.gpkg-wal").stat().st_size > 0


class Killed(BaseException):
    """The process ends here, and nothing of it runs on."""


@pytest.fixture
def killed(monkeypatch):
    """Kill whoever makes the nth change to a folder: ``killed(nth)``; 0 kills nobody."""
    left = [0]

    def dying(change):
        def changed(*given, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return change(*given, **options)

        return changed

    monkeypatch.setattr(Path, "replace", dying(Path.replace))
    monkeypatch.setattr(Path, "unlink", dying(Path.unlink))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    return lambda nth: left.__setitem__(0, nth)


@pytest.mark.parametrize("again", range(1, 8))
def test_a_run_killed_while_its_files_move_into_place_goes_on_or_is_whole(tmp_path, killed, again):
    """Whatever it had come to, also where what goes on is killed in turn."""
    names, older = ["A", "change.tif"], ["old.tif"]
    whole = {"A/1.png": "new", "change.tif": "new"}

    def run(path, nth, **how):
        folder = OutputFolder(path, resumable=begun, **how)
        killed(nth if folder.goes_on else 0)
        try:
            folder.__enter__()
            if not folder.goes_on:
                (folder.work / "A").mkdir()
                for name in ("A/1.png", "change.tif", "raw", "step"):
                    (folder.work / name).write_text("new")
                killed(nth)
            assert (folder.work / "raw").exists(), "what it goes on with is there"
            folder.publish(names, older)
            folder.__exit__(None, None, None)
        except Killed:
            return True
        finally:
            killed(0)
            folder._lock.release()
        return False

    nth, dies = 0, True
    while dies:
        nth += 1
        path = tmp_path / str(nth)
        (path / "A").mkdir(parents=True)
        for name in ("A/1.png", "A/2.png", "change.tif", "old.tif"):
            (path / name).write_text("old")
        dies = run(path, nth, overwrite=True)
        for time in (again, 0):
            with suppress(InputError):  # it is done, and so refused
                run(path, time, resume=True)
        assert {name: text for name, text in files(path).items() if not name.startswith(".")} == whole, nth
    assert nth > 8


def test_a_file_that_cannot_be_taken_back_is_named(tmp_path, killed, held_open):
    with suppress(Killed):
        folder = OutputFolder(tmp_path, resumable=begun).__enter__()
        for name in ("change.tif", "A.tif", "step"):
            (folder.work / name).write_text("new")
        killed(2)
        folder.publish(["change.tif", "A.tif"])
    folder._lock.release()
    held_open(["change.tif"])
    for _ in range(2):
        with (
            pytest.raises(JobError, match=r"change\.tif") as caught,
            OutputFolder(tmp_path, resume=True, resumable=begun),
        ):
            pytest.fail("it went on")
        assert caught.value.code == "in_use" and begun(folder.work)


@pytest.mark.parametrize("name", ["step", "raw/1"])
def test_what_cannot_be_removed_is_never_gone_on_from(tmp_path, monkeypatch, name):
    """Windows lets nobody remove a file that somebody has open."""
    unlink, rmtree = Path.unlink, shutil.rmtree

    def held(path, **options):
        if path.name == name:
            raise PermissionError(errno.EACCES, "in use", str(path))
        unlink(path, **options)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "unlink", held)
        meanwhile.setattr(shutil, "rmtree", lambda path, **_: None if name == "raw/1" else rmtree(path))
        with OutputFolder(tmp_path, resumable=begun) as folder:
            (folder.work / "raw").mkdir()
            for file in ("raw/1", "step", "change.tif"):
                (folder.work / file).write_text("new")
            folder.publish(["change.tif"])
        assert (folder.work / name).exists()
        assert not OutputFolder(tmp_path, resume=True, overwrite=True, resumable=begun).goes_on
        with (
            pytest.raises(JobError, match=name.split("/")[0]) as refused,
            OutputFolder(tmp_path, overwrite=True, resumable=begun),
        ):
            pytest.fail("it began among another run's files")
        assert refused.value.code == "in_use"
    with OutputFolder(tmp_path, overwrite=True, resumable=begun) as folder:
        assert not (folder.work / name).exists()
        folder.publish([])
    assert files(tmp_path) == {"change.tif": "new"}
