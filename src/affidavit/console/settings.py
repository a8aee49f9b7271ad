"""The settings of the service: the table ``[serve]`` of the file, ``AFFIDAVIT_SERVE_…``, options.

Options win over the environment, and that over the file, as with the settings of the log. Each is
named like the option, with underscores. Nothing here needs the packages of the HTTP service.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from affidavit._settings import Setting, from_text
from affidavit.config import service_layers
from affidavit.console.config import LANGUAGES, ServeConfig
from affidavit.errors import ConfigError

VARIABLE: Final = "AFFIDAVIT_SERVE_"
TABLE: Final = "serve"

_DEFAULTS: Final[Mapping[str, Any]] = {
    each.name: each.default for each in fields(ServeConfig) if each.name != "sources"
}
_FIELDS: Final[Mapping[str, str]] = {
    "oidc_secret": "oidc_client_secret",
    "oidc_host": "oidc_hosts",
    "oidc_role": "oidc_roles",
}
"""Settings whose field has another name."""

_PATHS: Final = frozenset({"tls_cert", "tls_key", "oidc_ca", "state_dir"})


def _one(name: str, kind: str, effect: str, **more: Any) -> Setting:
    return Setting(name, kind, _DEFAULTS[_FIELDS.get(name, name)], effect, **more)


_LIST: Final = (
    _one("host", "str", "Address to listen on. Beyond this machine only with TLS or a proxy."),
    _one("port", "int", "Port to listen on; 0 takes any free one.", low=0, high=65_535),
    _one("tls_cert", "str", "File with a certificate (PEM), to speak TLS itself."),
    _one("tls_key", "str", "File with the certificate's private key (PEM)."),
    _one(
        "behind_proxy",
        "list",
        "Addresses or networks of proxies that speak TLS to the outside; what they say of a "
        "request's address is believed.",
    ),
    _one("public_url", "str", "How browsers reach it, such as https://audit.example.org."),
    _one("oidc_issuer", "str", "Address of an OpenID Connect issuer where people log in."),
    _one("oidc_client_id", "str", "This service's name at the issuer."),
    _one(
        "oidc_secret",
        "str",
        "This service's secret at the issuer, if it has one. There is no option for it: arguments "
        "can be seen by others.",
        hidden="all",
    ),
    _one("oidc_host", "list", "Further hosts that the issuer's documents may name."),
    _one("oidc_scopes", "str", "What is asked of the issuer. There is no option for it."),
    _one("oidc_roles_claim", "str", "Claim with roles of this service, or with groups."),
    _one("oidc_role", "table", "The role of each group: group = role."),
    _one("oidc_default_role", "str", "Role of whoever has none by a claim; else not let in."),
    _one("oidc_departments_claim", "str", "Claim with the departments that somebody may see."),
    _one("oidc_tenants_claim", "str", "Claim with the tenants that somebody may see."),
    _one("oidc_ca", "str", "File with certificates to believe for the issuer (PEM)."),
    _one("language", "choice", "Where a browser asks for neither.", choices=LANGUAGES),
    _one("state_dir", "str", "Folder for exports under way; else one beside the spool."),
    _one("max_body_bytes", "size", "Largest request, also after decompression.", low=1),
    _one(
        "request_timeout_s",
        "float",
        "Seconds until an answer must begin. There is no option for it.",
        low=1,
        high=3600,
    ),
    _one(
        "session_idle_s",
        "int",
        "Seconds after which a session that nobody used ends. There is no option for it.",
        low=60,
        high=31 * 86_400,
    ),
    _one(
        "session_longest_s",
        "int",
        "Seconds after which every session ends. There is no option for it.",
        low=60,
        high=31 * 86_400,
    ),
    _one("requests_per_minute", "int", "Of one token or session, before it has to wait.", low=1),
    _one(
        "open_metrics",
        "bool",
        "Whether /metrics needs no token. Only on 127.0.0.1, and without sums of calls and costs.",
    ),
    _one("schedules", "bool", "Whether this process seals, keeps rollups up, verifies, watches."),
)

SETTINGS: Final[Mapping[str, Setting]] = {each.name: each for each in _LIST}
"""Every setting of the service by its name."""


def field_of(name: str) -> str:
    """Give the field of the configuration that a setting fills."""
    return _FIELDS.get(name, name)


def shown(serve: ServeConfig) -> list[tuple[str, Any, str, Setting]]:
    """Give each setting in force without its secret: name, value, where it came from, the setting.

    A field that was given without saying where from has an empty source.
    """
    found: list[tuple[str, Any, str, Setting]] = []
    for name, setting in SETTINGS.items():
        value = getattr(serve, field_of(name))
        source = serve.sources.get(field_of(name), "default" if value == setting.default else "")
        found.append((name, "***" if setting.hidden and value else value, source, setting))
    return found


def load(**options: Any) -> ServeConfig:
    """Resolve the settings; an option that is None was not given. Raises ConfigError."""
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for origin, layer in service_layers():
        for name, value in layer.items():
            source, checked = _checked(origin, name, value)
            found[name], sources[name] = checked, source
    for name, value in options.items():
        if value is not None:
            found[name], sources[name] = value, "argument"
    given = {_FIELDS.get(name, name): _as_field(name, value) for name, value in found.items()}
    told = {_FIELDS.get(name, name): source for name, source in sources.items()}
    return ServeConfig(**given, sources=told)


def _checked(origin: str, name: str, value: object) -> tuple[str, Any]:
    setting = SETTINGS.get(name)
    variable = f"{VARIABLE}{name.upper()}"
    source = variable if origin == "environment" else origin
    if setting is None:
        near = difflib.get_close_matches(name, SETTINGS, n=1)
        known = near or sorted(SETTINGS)
        written = [
            f"{VARIABLE}{each.upper()}" if origin == "environment" else f"{TABLE}.{each}"
            for each in known
        ]
        hint = f"Did you mean {written[0]}?" if near else f"There are: {', '.join(written)}."
        shown = variable if origin == "environment" else f"{TABLE}.{name}"
        msg = f"Unknown setting {shown!r} of the service (in {origin}). {hint}"
        raise ConfigError(msg)
    if origin == "environment":
        return source, from_text(setting, str(value), variable)
    return source, setting.check(value, f"{TABLE}.{name}=")


def _as_field(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _PATHS:
        return Path(value).expanduser()
    if name == "oidc_role":
        pairs = value.items() if isinstance(value, Mapping) else value
        return tuple((str(group), str(role)) for group, role in pairs)
    return tuple(value) if isinstance(value, list) else value
