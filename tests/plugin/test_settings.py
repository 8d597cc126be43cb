"""Settings keep their type and their place."""

import pytest
from qgis.core import QgsSettings


def test_defaults_are_given_where_nothing_is_stored(settings):
    assert settings.idle_minutes == 5
    assert settings.backend_python == ""
    assert "{build}" in settings.torch_index


def test_values_are_kept_under_the_plugins_prefix_with_their_type(settings):
    settings.render_megapixels = 7
    assert settings.render_megapixels == 7
    assert int(QgsSettings().value("changen2/render_megapixels")) == 7


def test_a_value_of_another_type_is_refused(settings):
    with pytest.raises(TypeError, match="changen2/idle_minutes"):
        settings.idle_minutes = "five"


def test_text_that_is_no_number_reads_as_the_default(settings):
    QgsSettings().setValue("changen2/idle_minutes", "five")
    assert settings.idle_minutes == 5


def test_reset_forgets_everything(settings):
    settings.device = "cpu"
    settings.reset()
    assert settings.device == "auto"
