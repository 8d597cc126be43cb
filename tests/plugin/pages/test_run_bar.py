"""The run bar and the keyboard: its two buttons hand the focus to each other, and take it from nothing else."""

import pytest
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QApplication, QLineEdit, QVBoxLayout, QWidget

from changen2_qgis.pages.run_bar import RunBar


@pytest.fixture
def window(qgis_app, qtbot):
    """A window with the bar between two lines to type in."""
    window = QWidget()
    window.bar, window.line = RunBar("Run", "Run it", window), QLineEdit(window)
    column = QVBoxLayout(window)
    for widget in (QLineEdit(window), window.bar, window.line):
        column.addWidget(widget)
    qtbot.addWidget(window)
    window.show()
    QApplication.setActiveWindow(window)
    return window


@pytest.fixture
def bar(window):
    return window.bar


def test_the_focus_stays_where_one_types_when_a_run_begins_and_ends(window, bar):
    window.line.setFocus()
    bar.set_running(True)
    assert QApplication.focusWidget() is window.line
    bar.set_running(False)
    assert QApplication.focusWidget() is window.line


def test_the_focus_goes_from_run_to_cancel_and_back(window, bar):
    bar.run.setFocus()
    bar.set_running(True)
    assert QApplication.focusWidget() is bar.cancel
    bar.set_running(False)
    assert QApplication.focusWidget() is bar.run


def test_after_cancelling_the_focus_is_on_run_unless_one_went_elsewhere(window, bar):
    for elsewhere, expected in ((False, bar.run), (True, window.line)):
        bar.run.setFocus()
        bar.set_running(True)
        QTest.keyClick(bar.cancel, " ")
        assert not bar.cancel.isEnabled()
        if elsewhere:
            window.line.setFocus()
        bar.set_running(False)
        assert QApplication.focusWidget() is expected
