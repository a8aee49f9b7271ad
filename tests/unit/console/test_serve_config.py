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
