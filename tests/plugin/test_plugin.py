"""Loading and unloading, as QGIS does it: all that `initGui` adds is gone after `unload`, the process too."""

import os

import pytest
from qgis.core import QgsApplication

import changen2_qgis


@pytest.fixture
def plugin(qgis_iface, real_backend):
    """Made as QGIS makes it; `real_backend` sees to it that an interpreter is found."""
    plugin = changen2_qgis.classFactory(qgis_iface)
    yield plugin
    plugin.unload()


def test_qgis_process_gets_the_algorithms_without_a_window(real_backend):
    plugin = changen2_qgis.classFactory(None)
    plugin.initProcessing()
    assert QgsApplication.processingRegistry().algorithmById("changen2:detectchange") is not None
    plugin.unload()
    assert QgsApplication.processingRegistry().providerById("changen2") is None


def test_unload_leaves_no_process_and_no_provider(plugin):
    plugin.initGui()
    pid = plugin.backend.hello().pid
    plugin.unload()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert QgsApplication.processingRegistry().providerById("changen2") is None
    assert plugin.dock is None


def test_it_can_be_loaded_again(plugin):
    for _ in range(2):
        plugin.initGui()
        assert plugin.dock is not None and plugin.action.isCheckable()
        plugin.unload()
