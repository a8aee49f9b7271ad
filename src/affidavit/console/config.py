"""Settings of the service itself: where it listens, who may come in, and its limits."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from affidavit.console.visitor import Role
from affidavit.errors import ConfigError

DEFAULT_PORT: Final = 8787
LANGUAGES: Final = ("en", "es")

_LEAST_PREFIX: Final = {4: 8, 6: 32}
"""Bits that the network of a proxy must have at least, by version of the Internet Protocol."""

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
"""Addresses of version 4, written as those of version 6."""

_EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::", "0", ""})  # noqa: S104 - looked for, not used
_OF_ISSUER: Final = (
    *("oidc_client_id", "oidc_hosts", "oidc_roles", "oidc_default_role"),
    *("oidc_departments_claim", "oidc_tenants_claim", "oidc_ca"),
)
"""What does nothing without an issuer."""


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How the service is run. Raises ConfigError where it would be open to the wrong people."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any free one."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: tuple[str, ...] = ()
    """Addresses or networks of proxies that speak TLS to the outside, and are believed."""
    public_url: str | None = None
    """The address that browsers use, such as https://audit.example.org; needed for OIDC."""
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = field(default=None, repr=False)
    oidc_hosts: tuple[str, ...] = ()
    """Further hosts that the issuer's documents may name, such as that of its keys."""
    oidc_scopes: str = "openid profile email"
    oidc_roles_claim: str = "affidavit_role"
    """Claim with roles of this service, or with groups; dots lead into it."""
    oidc_roles: tuple[tuple[str, str], ...] = ()
    """Pairs of a group and the role it has here."""
    oidc_departments_claim: str | None = None
    oidc_tenants_claim: str | None = None
    oidc_default_role: str | None = None
    """Role of somebody whose claims name none; without it they are not let in."""
    oidc_ca: Path | None = None
    """Certificates to believe for the issuer, instead of the system's."""
    language: Literal["en", "es"] | None = None
    """Instead of what the browser asks for."""
    max_body_bytes: int = 16 * 1024 * 1024
    """Of one request, also after decompression."""
    request_timeout_s: float = 60.0
    session_idle_s: int = 3600
    session_longest_s: int = 12 * 3600
    requests_per_minute: int = 60_000
    """Of one visitor, before it is told to wait."""
    state_dir: Path | None = None
    """Where exports are made; else a folder beside the spool."""
    schedules: bool = True
    """Whether this process seals, keeps rollups up, verifies and watches."""
    open_metrics: bool = False
    """Whether /metrics needs no token, on this machine."""
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Where each field came from: ``argument``, a variable, a file; a default where it is none."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if not 0 <= self.port <= 65_535:  # noqa: PLR2004 - the ports there are
            msg = f"--port {self.port} is no port. Use a number from 0 to 65535."
            raise ConfigError(msg)
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "TLS needs both: --tls-cert and --tls-key. Give the one that is missing."
            raise ConfigError(msg)
        if self.language not in {None, *LANGUAGES}:
            msg = f"--language {self.language!r} is not spoken here. Use {' or '.join(LANGUAGES)}."
            raise ConfigError(msg)
        for name in ("max_body_bytes", "requests_per_minute"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                msg = f"--{option} {getattr(self, name)} would refuse everything. Use 1 or more."
                raise ConfigError(msg)
        for proxy in self.behind_proxy:
            network_of(proxy)
        self._check_reach()
        if self.public_url is not None:
            _check_public(self.public_url)
        if self.oidc_issuer is not None:
            self._check_oidc(self.oidc_issuer)
            self._check_way_back()
        else:
            self._check_no_oidc()

    def _check_reach(self) -> None:
        """Refuse what would be open to other machines."""
        if not self.is_loopback and not self.tls and not self.behind_proxy:
            msg = (
                f"--host {self.host} is reachable from other machines, and the service would speak "
                "to them without TLS. Give --tls-cert and --tls-key; or --behind-proxy with the "
                "address of a proxy that speaks TLS; or listen on 127.0.0.1."
            )
            raise ConfigError(msg)
        if self.open_metrics and (self.behind_proxy or not self.is_loopback):
            msg = (
                "open_metrics gives metrics to whoever can reach the service, and that is more "
                "than this machine. Listen on 127.0.0.1 without a proxy, or give Prometheus a "
                "token."
            )
            raise ConfigError(msg)

    def _check_oidc(self, issuer: str) -> None:
        parts = urlsplit(issuer)
        local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            msg = f"oidc_issuer {issuer!r} must be an https:// address."
            raise ConfigError(msg)
        if not self.oidc_client_id:
            msg = "oidc_issuer needs oidc_client_id, the name of this service at the issuer."
            raise ConfigError(msg)
        roles = {role.value for role in Role}
        named = [role for _, role in self.oidc_roles]
        if self.oidc_default_role is not None:
            named.append(self.oidc_default_role)
        for role in named:
            if role not in roles:
                msg = f"OIDC: {role!r} is no role. Use one of {', '.join(sorted(roles))}."
                raise ConfigError(msg)

    def _check_way_back(self) -> None:
        """Refuse to send people to an issuer that cannot send them back."""
        if self.public_url is None and (self.behind_proxy or self.host in _EVERY_ADDRESS):
            where = "behind a proxy" if self.behind_proxy else f"on {self.host}"
            msg = (
                f"oidc_issuer is given, and the service {where} does not know the address that "
                "browsers use, to which the issuer sends people back. Give --public-url "
                "https://audit.example.org, and allow its /login/oidc/back at the issuer."
            )
            raise ConfigError(msg)

    def _check_no_oidc(self) -> None:
        given = [name for name in _OF_ISSUER if getattr(self, name)]
        if given:
            msg = (
                f"{given[0]} is given without oidc_issuer, so nobody can log in there and it does "
                "nothing. Give --oidc-issuer, or leave it out."
            )
            raise ConfigError(msg)

    @property
    def tls(self) -> bool:
        """Whether this process speaks TLS itself."""
        return self.tls_cert is not None

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS, so that cookies can be kept to it."""
        public = self.public_url is not None and self.public_url.startswith("https://")
        return self.tls or public or (bool(self.behind_proxy) and not self.is_loopback)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def oidc(self) -> bool:
        """Whether people can log in at another place."""
        return self.oidc_issuer is not None


def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read an address or a network of proxies. Raises ConfigError, also for one that is too wide.

    A proxy that is believed says where a request came from, and that it came by TLS.
    """
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        msg = f"--behind-proxy {text!r} is no address. Write 10.0.0.5 or 10.0.0.0/24."
        raise ConfigError(msg) from error
    least = _LEAST_PREFIX[found.version]
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        least = _MAPPED.prefixlen + _LEAST_PREFIX[4]
    if found.prefixlen < least:
        msg = (
            f"--behind-proxy {text} would believe a large part of all machines what address and "
            "TLS a request came with, so anybody could pass for another. Name the proxies "
            f"themselves, such as 10.0.0.5, or their own network (/{least} or smaller)."
        )
        raise ConfigError(msg)
    return found


def _check_public(url: str) -> None:
    parts = urlsplit(url)
    plain = not (parts.query or parts.fragment or parts.username) and parts.path in {"", "/"}
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        msg = f"--public-url {url!r} is no address of a host. Write https://audit.example.org."
        raise ConfigError(msg)
