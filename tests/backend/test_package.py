"""The jobs from Python: ``import changen2``."""

import inspect

import pytest

import changen2


@pytest.mark.parametrize("name", [name for name in changen2.__all__ if name != "__version__"])
def test_each_job_is_there_with_its_docstring(name):
    job = getattr(changen2, name)
    assert inspect.isfunction(job) and job.__name__ == name
    assert {"on_progress", "is_cancelled"} <= inspect.signature(job).parameters.keys()
    assert "Returns:" in job.__doc__


def test_every_job_that_makes_something_is_among_them():
    assert {"finetune", "sample"} <= set(changen2.__all__)


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        changen2.nothing  # noqa: B018
