"""The journal of an unfinished run says why another job cannot go on with it, and what can be done."""

import pytest

from changen2.errors import InputError
from changen2.jobs.journal import Journal

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
