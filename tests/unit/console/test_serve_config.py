"""Where the service listens, and when it refuses to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from affidavit.console.config import ServeConfig
from affidavit.errors import ConfigError

PEM = Path("some.pem")


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("host", ["::", "10.0.0.7", "audit.example.org", "127.0.0.1.evil"])
def test_it_listens_beyond_this_machine_only_with_tls_or_behind_a_proxy(host: str) -> None:
    """Tokens and texts never go over a network in the clear."""
    with pytest.raises(ConfigError, match="without TLS"):
        ServeConfig(host=host)
    assert ServeConfig(host=host, tls_cert=PEM, tls_key=PEM).secure
    assert ServeConfig(host=host, behind_proxy=("10.0.0.5",)).secure


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_on_this_machine_it_needs_neither(host: str) -> None:
    """The default is safe because nobody else can reach it."""
    assert ServeConfig(host=host).is_loopback
    assert not ServeConfig(host=host).secure


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": 70_000}, "no port"),
        ({"tls_cert": PEM}, "TLS needs both"),
        ({"behind_proxy": ("everybody",)}, "no address"),
        ({"public_url": "javascript:alert(1)"}, "no address of a host"),
        ({"public_url": "https://host/path"}, "no address of a host"),
        ({"oidc_issuer": "http://login.example.org", "oidc_client_id": "x"}, "https"),
        ({"oidc_issuer": "https://login.example.org"}, "oidc_client_id"),
        (
            {
                "oidc_issuer": "https://login.example.org",
                "oidc_client_id": "x",
                "oidc_roles": (("staff", "king"),),
            },
            "no role",
        ),
    ],
)
def test_what_can_not_be_is_refused_with_what_to_write(settings: dict[str, Any], said: str) -> None:
    """Each error names the option and the remedy."""
    with pytest.raises(ConfigError, match=said):
        ServeConfig(**settings)


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "net",
    [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/7",
        "2000::/3",
        "fc00::/7",
        "::ffff:0.0.0.0/96",
        "::ffff:128.0.0.0/97",
    ],
)
def test_a_proxy_is_no_half_of_the_internet(net: str) -> None:
    """Whoever comes from a proxy that is believed says where they come from, and by TLS or not."""
    for host in ("0.0.0.0", "127.0.0.1"):  # noqa: S104 - it must not listen there
        with pytest.raises(ConfigError, match="behind-proxy") as refused:
            ServeConfig(host=host, behind_proxy=("10.0.0.5", net))
        assert net in str(refused.value)
        assert "10.0.0.5" in str(refused.value), "it says what to write"


@pytest.mark.parametrize("net", ["10.0.0.0/8", "10.0.0.5", "fd12:3456:789a::/48", "::1"])
def test_a_network_of_one_s_own_may_have_the_proxies(net: str) -> None:
    """As those of a cluster, whose addresses change."""
    assert ServeConfig(behind_proxy=(net,)).behind_proxy == (net,)


ISSUER: dict[str, Any] = {"oidc_issuer": "https://login.example.org", "oidc_client_id": "x"}


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0", "tls_cert": PEM, "tls_key": PEM},  # noqa: S104 - as above
        {"host": "::", "tls_cert": PEM, "tls_key": PEM},
        {"host": "10.0.0.7", "behind_proxy": ("10.0.0.5",)},
        {"behind_proxy": ("127.0.0.1",)},
    ],
)
def test_the_issuer_must_know_where_to_send_people_back(settings: dict[str, Any]) -> None:
    """Behind a proxy, or on every address, the service cannot know its own."""
    with pytest.raises(ConfigError, match="--public-url"):
        ServeConfig(**ISSUER, **settings)
    assert ServeConfig(**ISSUER, **settings, public_url="https://audit.example.org").oidc


def test_on_this_machine_people_come_back_to_it() -> None:
    """A trial at home needs no other address."""
    assert ServeConfig(**ISSUER).oidc


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_client_id": "x"},
        {"oidc_hosts": ("keys.example.org",)},
        {"oidc_roles": (("staff", "viewer"),)},
        {"oidc_default_role": "viewer"},
        {"oidc_departments_claim": "department"},
        {"oidc_tenants_claim": "tenant"},
    ],
)
def test_settings_of_an_issuer_without_one_are_said_to_do_nothing(settings: dict[str, Any]) -> None:
    """Somebody who believes that limits are in force learns that nobody can log in that way."""
    [name] = settings
    with pytest.raises(ConfigError, match="oidc_issuer") as refused:
        ServeConfig(**settings)
    assert name in str(refused.value)
