"""Two runs that were prepared for the same folder: one that is refused or cancelled takes nothing of the other's."""

import pytest

from changen2_qgis.errors import BackendError, Cancelled, InputError
from changen2_qgis.processing.run_folder import RunFolder
from changen2_qgis.run_folders import INPUTS_FOLDER, WORK_FOLDER

ERRORS = {
    "cancelled": Cancelled(),
    "busy": BackendError("Another run is at work.", code="busy"),
    "not_empty": BackendError("It holds results.", code="not_empty"),
}


def tree(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_text() for path in folder.rglob("*")}


def write(folder, name, text):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def prepare(path, name, text):
    run = RunFolder(path, overwrite=False, keep_inputs=True)
    with run.removed_on_error(), run.writing():
        write(run.inputs, name, text)
    return run


@pytest.mark.parametrize("state", ["begun", "unfinished", "finished"])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("mine_first", [False, True])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_what_another_run_wrote_stays(tmp_path, error, mine_first, same, state):
    folder, mine = tmp_path / "run", "aoi.gpkg" if same else "areas/aoi.gpkg"

    def other():
        run = RunFolder(folder, overwrite=mine_first, keep_inputs=True)
        with run.writing():
            write(run.inputs, "aoi.gpkg", "the other's, and longer")
        write(run.path, f"{WORK_FOLDER}/journal.jsonl", '{"job": 1}\n' + '{"i": 0}\n' * (state == "unfinished"))
        if state == "finished":
            write(run.path, "change.tif", "result")

    if mine_first:
        run = prepare(folder, mine, "mine")
        other()
        before = tree(folder)
    else:
        other()
        before = tree(folder)
        with pytest.raises(InputError, match="written for another run"):
            prepare(folder, mine, "mine")
        assert tree(folder) == before
        run = RunFolder(folder, False, keep_inputs=True)
    with pytest.raises(type(error)), run.removed_on_error():
        raise error
    left = tree(folder)
    mine_alone = {f"{INPUTS_FOLDER}/areas", f"{INPUTS_FOLDER}/areas/aoi.gpkg"}
    assert {name: left.get(name) for name in before.keys() - mine_alone} == {
        name: text for name, text in before.items() if name not in mine_alone
    }
    assert state == "unfinished" or not left.keys() & mine_alone, "what it wrote itself goes"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("unfinished", [False, True])
def test_inputs_are_kept_for_the_run_that_goes_on_with_an_unfinished_one(tmp_path, resume, unfinished):
    before, after = (tmp_path / INPUTS_FOLDER / name for name in ("before.tif", "after.tif"))
    begun = RunFolder(tmp_path, overwrite=False)
    with begun.writing():
        assert begun.kept(before, "made of this") is None
        write(tmp_path, f"{INPUTS_FOLDER}/before.tif", "of the run that is there")
    write(tmp_path, f"{WORK_FOLDER}/journal.jsonl", '{"job": 1}\n' + '{"i": 0}\n' * unfinished)
    run = RunFolder(tmp_path, overwrite=True, resume=resume)
    assert run.kept(before, "made of this") == (str(before) if resume and unfinished else None)
    assert run.kept(after, "made of this") is None


@pytest.mark.parametrize("noted", ["made of this", None])
def test_an_input_that_was_made_of_something_else_is_not_gone_on_with(tmp_path, noted):
    target = tmp_path / INPUTS_FOLDER / "aoi.gpkg"
    begun = RunFolder(tmp_path, overwrite=False)
    with begun.writing():
        if noted:
            begun.kept(target, noted)
        write(tmp_path, f"{INPUTS_FOLDER}/aoi.gpkg", "area A")
    write(tmp_path, f"{WORK_FOLDER}/journal.jsonl", '{"job": 1}\n{"i": 0}\n')
    before = tree(tmp_path)
    run = RunFolder(tmp_path, overwrite=False, resume=True, keep_inputs=True)
    run.layers["aoi"] = "area B"
    with pytest.raises(InputError, match="differs from this one in: aoi “area B”"), run.removed_on_error():
        run.kept(target, "made of that")
    assert tree(tmp_path) == before


def test_a_failed_run_leaves_the_inputs_of_the_results_that_are_there(tmp_path):
    write(tmp_path, f"{INPUTS_FOLDER}/before.tif", "of the results")
    write(tmp_path, "change.tif", "result")
    before = tree(tmp_path)
    with pytest.raises(Cancelled), RunFolder(tmp_path, overwrite=True).removed_on_error():
        raise Cancelled
    assert tree(tmp_path) == before


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_fails_takes_all_that_it_wrote_and_no_folder_of_the_users(tmp_path, there):
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    run = prepare(folder, "areas/aoi.gpkg", "mine")
    with pytest.raises(Cancelled), run.removed_on_error():
        with run.writing():
            write(run.inputs, "after.tif", "half of")
        write(run.inputs, "after.tif.aux.xml", "what GDAL notes")
        raise Cancelled
    assert folder.exists() == there and tree(tmp_path) == ({"run": False} if there else {})


def test_a_run_beside_another_one_has_inputs_of_its_own(tmp_path):
    prepare(tmp_path, "aoi.gpkg", "of the detection")
    run = RunFolder(tmp_path, overwrite=False, part="assessment")
    with pytest.raises(Cancelled), run.removed_on_error(), run.writing():
        write(run.inputs, "aoi.gpkg", "the reference")
        assert tree(tmp_path)[f"{INPUTS_FOLDER}/aoi.gpkg"] == "of the detection"
        raise Cancelled
    assert tree(tmp_path) == {INPUTS_FOLDER: False, f"{INPUTS_FOLDER}/aoi.gpkg": "of the detection"}


def test_a_run_may_write_in_parts_and_again_where_it_may_replace(tmp_path):
    run = prepare(tmp_path, "aoi.gpkg", "mine")
    with run.writing():
        write(run.inputs, "before.tif", "mine, too")
    again = RunFolder(tmp_path, overwrite=True)
    with again.writing():
        write(again.inputs, "aoi.gpkg", "another")
    assert tree(tmp_path)[f"{INPUTS_FOLDER}/aoi.gpkg"] == "another"
