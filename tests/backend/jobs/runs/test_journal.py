"""The journal of an unfinished run says why another job cannot go on with it, and what can be done."""

import pytest

from changen2.errors import InputError
from changen2.jobs.runs.journal import NAME, Journal, has_finished_blocks, stamps

JOB = {"edition": 2, "versions": {"torch": "2.9.0"}, "parameters": {"seed": 0}}


@pytest.mark.parametrize(
    ("other", "helps", "does_not"),
    [
        ({"parameters": {"seed": 1}}, "same inputs and settings", "another version"),
        ({"edition": 3}, "begun by another version", "same inputs"),
        ({"versions": {"torch": "2.9.1"}}, "begun by another version", "same inputs"),
        ({"edition": 3, "parameters": {"seed": 1}}, "begun by another version", "same inputs"),
    ],
)
def test_a_run_of_another_job_is_told_what_helps(tmp_path, other, helps, does_not):
    Journal(tmp_path, JOB).add(i=0, j=0)
    assert Journal(tmp_path, JOB).done == {(0, 0)}
    with pytest.raises(InputError, match=f"differs from this one in: {', '.join(other)}") as caught:
        Journal(tmp_path, JOB | other)
    assert helps in caught.value.hint and does_not not in caught.value.hint and "--overwrite" in caught.value.hint
    assert caught.value.code == "other_job"


def test_layers_and_what_lies_in_an_archive_are_stamped_as_their_files(tmp_path):
    file = tmp_path / "aoi.zip"
    file.write_bytes(b"abc")
    sources = [str(file), f"{file}|layername=a", f"/vsizip/{file}/aoi.shp"]
    known = [3, file.stat().st_mtime]
    assert stamps([*sources, None, "auto", str(tmp_path / "missing.gpkg")]) == dict.fromkeys(sources, known)


def test_a_journal_cut_anywhere_loses_the_cut_line_alone_and_grows_again(tmp_path):
    whole = Journal(tmp_path, JOB)
    for i in range(3):
        whole.add(i=i, j=0)
    written = (tmp_path / NAME).read_bytes()
    for length in range(len(written)):
        (tmp_path / NAME).write_bytes(written[:length])
        left = max(0, written[:length].count(b"\n") - 1)
        assert has_finished_blocks(tmp_path) == (left > 0)
        cut = Journal(tmp_path, JOB)
        assert cut.done == {(i, 0) for i in range(left)}
        for i in range(left, 3):
            cut.add(i=i, j=0)
        assert Journal(tmp_path, JOB).done == whole.done
        assert (tmp_path / NAME).read_bytes() == written


def test_a_refused_job_leaves_a_cut_journal_as_it_is(tmp_path):
    Journal(tmp_path, JOB).add(i=0, j=0)
    (tmp_path / NAME).write_bytes(cut := (tmp_path / NAME).read_bytes()[:-3])
    with pytest.raises(InputError):
        Journal(tmp_path, JOB | {"edition": 3})
    assert (tmp_path / NAME).read_bytes() == cut
