"""QGIS's proxy for the programs that the plugin starts: weights and packages come the way QGIS's own data do."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from qgis.core import QgsNetworkAccessManager
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtNetwork import QNetworkProxy, QNetworkProxyQuery

FAR_AWAY = "https://huggingface.co/"
"""Any address outside the user's own network."""


def with_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment, and HTTPS_PROXY where QGIS's settings name a proxy.

    A proxy that the environment names itself stays. SOCKS proxies are left out: the programs do not speak to them.
    """
    variables = dict(environ)
    if any(name.upper() in ("HTTPS_PROXY", "ALL_PROXY") for name in variables):
        return variables
    factory = QgsNetworkAccessManager.instance().proxyFactory()
    if factory is None:  # QGIS has not read its network settings
        return variables
    for proxy in factory.queryProxy(QNetworkProxyQuery(QUrl(FAR_AWAY))):
        if proxy.type() in (QNetworkProxy.ProxyType.HttpProxy, QNetworkProxy.ProxyType.HttpCachingProxy):
            return {**variables, "HTTPS_PROXY": _address(proxy)}
    return variables


def _address(proxy: QNetworkProxy) -> str:
    user = quote(proxy.user(), safe="")
    if user and proxy.password():
        user += f":{quote(proxy.password(), safe='')}"
    return f"http://{user}{'@' if user else ''}{proxy.hostName()}:{proxy.port()}"
