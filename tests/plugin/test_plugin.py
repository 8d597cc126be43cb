"""Loading and unloading, as QGIS does it: all that `initGui` adds is gone after `unload`, the process too."""

import os

import pytest
from qgis.core import Qgis, QgsApplication
from qgis.PyQt import sip

import changen2_qgis
from changen2_qgis.errors import Cancelled


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


def test_no_process_starts_any_more_after_unload(plugin):
    """A task that was waiting for its turn may ask only now."""
    plugin.initGui()
    plugin.unload()
    for ask in (plugin.backend.hello, lambda: plugin.backend.request("models", {})):
        with pytest.raises(Cancelled):
            ask()
    assert plugin.backend.pid is None


def test_a_step_of_unload_that_fails_is_logged_and_the_others_are_taken(plugin, qgis_iface, monkeypatch, qtbot):
    plugin.initGui()
    dock, action = plugin.dock, plugin.action
    plugin.backend.hello()
    seen, removed = [], []

    def fail():
        seen.append(plugin.backend.pid)
        raise OSError("a page holds on")

    monkeypatch.setattr(dock.detect, "shut_down", fail)
    monkeypatch.setattr(dock.setup, "shut_down", fail)
    monkeypatch.setattr(plugin.layer_actions, "remove", fail)
    monkeypatch.setattr(qgis_iface, "removeDockWidget", removed.append, raising=False)
    with qtbot.waitSignals([QgsApplication.messageLog().messageReceived[str, str, Qgis.MessageLevel]] * 3) as told:
        plugin.unload()
    assert seen == [None] * 3, "the worker is gone before files are removed"
    assert all("a page holds on" in signal.args[0] for signal in told.all_signals_and_args)
    assert removed == [dock] and QgsApplication.processingRegistry().providerById("changen2") is None
    qtbot.waitUntil(lambda: sip.isdeleted(dock) and sip.isdeleted(action))


def test_it_can_be_loaded_again(plugin):
    for _ in range(2):
        plugin.initGui()
        assert plugin.dock is not None and plugin.action.isCheckable()
        plugin.unload()
