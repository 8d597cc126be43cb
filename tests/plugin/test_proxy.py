"""QGIS's proxy settings reach the programs that the plugin starts."""

import pytest
from qgis.core import QgsNetworkAccessManager, QgsSettings

from changen2_qgis.background import BackgroundCall
from changen2_qgis.proxy import with_proxy


@pytest.fixture
def qgis_proxy(qgis_app):
    """A function that writes QGIS's proxy settings and has QGIS read them; undone after the test."""

    def write(**settings):
        for name, value in settings.items():
            QgsSettings().setValue(f"proxy/{name}", value)
        QgsNetworkAccessManager.instance().setupDefaultProxyAndCache()

    yield write
    QgsSettings().remove("proxy")
    QgsNetworkAccessManager.instance().setupDefaultProxyAndCache()


OWN = {"proxyEnabled": True, "proxyType": "HttpProxy", "proxyHost": "proxy.example", "proxyPort": "3128"}


def test_without_a_proxy_nothing_is_added(qgis_proxy):
    qgis_proxy(proxyEnabled=False)
    assert with_proxy({"HOME": "/home/me"}) == {"HOME": "/home/me"}


def test_a_proxy_with_a_password_becomes_an_address(qgis_proxy):
    qgis_proxy(**OWN, proxyUser="me", proxyPassword="p@ss word")
    assert with_proxy({})["HTTPS_PROXY"] == "http://me:p%40ss%20word@proxy.example:3128"


def test_it_is_found_from_the_thread_that_starts_the_backend(qgis_proxy, qtbot):
    qgis_proxy(**OWN)
    call = BackgroundCall("Proxy", lambda task: with_proxy({}))
    with qtbot.waitSignal(call.done, timeout=5000) as done:
        call.start()
    assert done.args[0] == {"HTTPS_PROXY": "http://proxy.example:3128"}


def test_the_environment_has_the_first_word(qgis_proxy):
    qgis_proxy(**OWN)
    assert with_proxy({"https_proxy": "http://mine:1"}) == {"https_proxy": "http://mine:1"}


def test_a_socks_proxy_is_left_out(qgis_proxy):
    qgis_proxy(**{**OWN, "proxyType": "Socks5Proxy"})
    assert with_proxy({}) == {}
