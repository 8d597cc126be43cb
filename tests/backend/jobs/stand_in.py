"""The generator without weights for processes that pytest did not start: they import this file by its name."""

import importlib.util
from pathlib import Path


def load():
    """The flat generator of the tests."""
    spec = importlib.util.spec_from_file_location("flat_conftest", Path(__file__).parents[1] / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FlatGenerator().eval()


def pretend_version(module, attribute, version):
    """Let this process say that it runs another version; return the one that it runs."""
    package = importlib.import_module(module)
    runs = str(getattr(package, attribute))
    setattr(package, attribute, version)
    return runs


def forget_changen2():
    """Let this process no longer find what it is asked for, as where changen2 is not installed."""
    from changen2.jobs.cluster import staff

    del staff._facts
