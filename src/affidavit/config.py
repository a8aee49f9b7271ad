"""The settings, the two profiles, and the only reader of the environment and of TOML.

Precedence, everywhere alike: arguments, then ``AFFIDAVIT_<SETTING>`` variables, then
``affidavit.toml`` (in the working directory, or where ``AFFIDAVIT_CONFIG`` points), then defaults.
An unknown key or variable is an error: a mistyped setting must not be silently ignored.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from affidavit import _monitor_settings
from affidavit._key_settings import INLINE, key_bytes, public_key_bytes
from affidavit._masks import masked, without_password, without_secrets
from affidavit._settings import FOREIGN_VARIABLES, Setting, from_text, parse_bytes
from affidavit._settings import SETTINGS as _CORE
from affidavit.errors import ConfigError
from affidavit.providers import parse_hosts

__all__ = [
    "SETTINGS",
    "AuditConfig",
    "Setting",
    "Settings",
    "key_bytes",
    "mongodb_uri",
    "parse_bytes",
    "public_key_bytes",
    "service_layers",
    "without_password",
    "without_secrets",
]

PREFIX: Final = "AFFIDAVIT_"
SERVICE_PREFIX: Final = "AFFIDAVIT_SERVE_"
"""Of variables that are settings of the HTTP service, and none of the log."""

_SERVICE: Final = "serve"

SETTINGS: Final = _CORE | {each.name: each for each in _monitor_settings.SETTINGS}
"""Every setting by its name."""


class Settings(TypedDict, total=False):
    """Every setting by name, for type checkers; ``affidavit config`` explains each."""

    enabled: bool
    ttl_days: int
    batch_writes: bool | Mapping[str, Any]
    batch_size: int
    flush_interval: float
    compress_large_fields: bool
    compression_level: int
    max_field_size: int
    index_optimization: bool
    slow_query_threshold: float
    separate_database: bool
    async_writes: bool
    on_failure: Literal["spool", "refuse"]
    durable: Literal["store", "spool"]
    write_timeout: float
    queue_wait: float
    max_queue_bytes: int
    spool_dir: str | None
    max_spool_bytes: int | str
    audit_uri: str | None
    collection: str | None
    auto_setup: bool
    legacy_timezone: str | None
    reporting_timezone: str
    redaction: str | Mapping[str, Any]
    identity: Literal["plain", "keyed"]
    redaction_key: str | None
    said_key: str | None
    seal_public_key: str | None
    seal: Literal["auto", "off"]
    seal_key_file: str | None
    seal_vkey: str | None
    seal_key: str | None
    rolling_percent: int
    anchor_directory: str | None
    anchor_witnesses: str | None
    anchor_tsa: str | None
    anchor_tsa_ca: str | None
    anchor_every_s: int
    anchor_plain_http: bool
    guard: Literal["off", "record", "refuse"]
    guard_hosts: str | None
    pricing: Literal["auto", "off"]
    price_overrides: str | None
    department: str | None
    tenant: str | None
    environment: str | None
    service: str | None
    monitoring_thresholds: Mapping[str, Any] | None
    budgets: Mapping[str, Any] | None
    monitor_every_s: int
    alert_repeat_s: int
    alert_webhooks: str | None
    alert_webhook_secret: str | None
    alert_private_addresses: bool
    alert_smtp: str | None
    alert_email_to: str | None
    alert_email_from: str | None
    alert_apprise: str | None
    compression: Mapping[str, Any]
    selective_logging: Mapping[str, Any]


class AuditConfig:
    """An immutable set of settings.

    ``AuditConfig(**AUDIT_CONFIG)`` takes dictionaries as the analysis document prints them,
    ``OPTIMIZATION_STRATEGIES`` with its nested groups included. Attributes are the settings of
    :data:`SETTINGS`. Raises :class:`~affidavit.errors.ConfigError` for anything unknown or out
    of range.
    """

    __slots__ = ("_given", "_sources", "_values")

    enabled: bool
    ttl_days: int
    batch_writes: bool
    batch_size: int
    flush_interval: float
    compress_large_fields: bool
    compression_level: int
    max_field_size: int
    index_optimization: bool
    slow_query_threshold: float
    separate_database: bool
    async_writes: bool
    on_failure: str
    durable: str
    write_timeout: float
    queue_wait: float
    max_queue_bytes: int
    spool_dir: str | None
    max_spool_bytes: int
    audit_uri: str | None
    collection: str | None
    auto_setup: bool
    legacy_timezone: str | None
    reporting_timezone: str
    redaction: str | dict[str, Any]
    identity: str
    redaction_key: str | None
    said_key: str | None
    seal_public_key: str | None
    seal: str
    seal_key_file: str | None
    seal_vkey: str | None
    seal_key: str | None
    rolling_percent: int
    anchor_directory: str | None
    anchor_witnesses: str | None
    anchor_tsa: str | None
    anchor_tsa_ca: str | None
    anchor_every_s: int
    anchor_plain_http: bool
    guard: Literal["off", "record", "refuse"]
    guard_hosts: str | None
    pricing: str
    price_overrides: str | None
    department: str | None
    tenant: str | None
    environment: str | None
    service: str | None
    monitoring_thresholds: dict[str, Any] | None
    budgets: dict[str, Any] | None
    monitor_every_s: int
    alert_repeat_s: int
    alert_webhooks: str | None
    alert_webhook_secret: str | None
    alert_private_addresses: bool
    alert_smtp: str | None
    alert_email_to: str | None
    alert_email_from: str | None
    alert_apprise: str | None

    def __init__(self, **settings: Unpack[Settings]) -> None:
        flat = _flatten(settings)
        values = {name: setting.default for name, setting in SETTINGS.items()}
        for name, value in flat.items():
            values[name] = _checked(name, value, f"{name}=")
        self._set(values, frozenset(flat), dict.fromkeys(flat, "argument"))
        _check_together(self)

    def _set(self, values: dict[str, Any], given: frozenset[str], sources: dict[str, str]) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_given", given)
        object.__setattr__(self, "_sources", sources)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"AuditConfig is immutable; make another one to change {name}."
        raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuditConfig) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(sorted((k, str(v)) for k, v in self._values.items())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in self.public().items() if k in self._given)
        return f"AuditConfig({shown})"

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._values.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.given(),))

    def public(self) -> dict[str, Any]:
        """All settings as plain values, without keys and without a password inside a URI."""
        values = dict(self._values)
        for name in ("redaction_key", "said_key"):
            key = values[name]
            if key and key.startswith(INLINE):
                values[name] = f"{INLINE}***"
        for name, setting in SETTINGS.items():
            if setting.hidden and values[name]:
                values[name] = masked(values[name], setting.hidden)
        if isinstance(values["redaction"], dict):
            values["redaction"] = _shown(values["redaction"])
        return values

    def given(self) -> dict[str, Any]:
        """Give the settings that were set, without defaults."""
        return {name: self._values[name] for name in self._given}

    def source(self, name: str) -> str:
        """Where a setting came from: argument, variable name, file name or ``default``."""
        return str(self._sources.get(name, "default"))

    @property
    def mode(self) -> str:
        """One of ``direct``, ``batch``, ``high_volume``, ``async``: the row of the guarantees."""
        if self.batch_writes:
            return "high_volume" if self.async_writes else "batch"
        return "async" if self.async_writes else "direct"

    @classmethod
    def high_volume(cls, **settings: Unpack[Settings]) -> AuditConfig:
        """Give the document's high-volume profile; arguments override single settings."""
        merged: Settings = {**HIGH_VOLUME, **settings}
        return cls(**merged)

    @classmethod
    def load(cls, config: AuditConfig | None = None, **settings: Unpack[Settings]) -> AuditConfig:
        """Resolve the settings: these arguments, the environment, ``affidavit.toml``, defaults."""
        arguments = config.given() if config is not None else {}
        arguments |= _flatten(settings)
        merged: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for origin, layer in (*_outside_layers(), ("argument", arguments)):
            for name, value in layer.items():
                if name in SETTINGS:
                    merged[name] = value
                    sources[name] = origin if origin == "argument" else _origin(origin, name)
                elif name != "mongodb_uri" or origin == "argument":
                    where = "" if origin == "argument" else f" (in {origin})"
                    raise ConfigError(_unknown(name, [*SETTINGS, "mongodb_uri"]) + where)
        loaded = cls(**merged)
        loaded._set(loaded._values, loaded._given, sources)
        return loaded


HIGH_VOLUME: Final[Settings] = {
    "enabled": True,
    "ttl_days": 30,
    "batch_writes": True,
    "batch_size": 10,
    "flush_interval": 30,
    "separate_database": True,
    "compression_level": 9,
    "async_writes": True,
}


def mongodb_uri(argument: str | None = None) -> str | None:
    """Resolve the database address: argument, ``AFFIDAVIT_MONGODB_URI``, TOML ``mongodb_uri``."""
    if argument:
        return argument
    found: str | None = None
    for _origin_name, layer in _outside_layers():
        found = layer.get("mongodb_uri", found)
    return found


def _shown(value: Any) -> Any:
    """Write rules as plain values: a function as its name."""
    if isinstance(value, Mapping):
        return {str(name): _shown(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value


def _rebuild(settings: Settings) -> AuditConfig:
    return AuditConfig(**settings)


def service_layers() -> list[tuple[str, dict[str, Any]]]:
    """Give what the file and the environment say of the HTTP service, as it stands there.

    Its own settings are read by :mod:`affidavit.console.settings`; later layers win.
    """
    path = _file()
    layers = [] if path is None else [(path.name, dict(_table_of_service(path, _parsed(path))))]
    given = {
        variable[len(SERVICE_PREFIX) :].lower(): text
        for variable, text in os.environ.items()
        if variable.startswith(SERVICE_PREFIX)
    }
    return [*layers, ("environment", given)]


def _origin(layer: str, name: str) -> str:
    return f"{PREFIX}{name.upper()}" if layer == "environment" else layer


def _outside_layers() -> list[tuple[str, dict[str, Any]]]:
    """TOML, then environment: later wins."""
    layers: list[tuple[str, dict[str, Any]]] = []
    path = _file()
    if path is not None:
        layers.append((path.name, _read_toml(path)))
    layers.append(("environment", _read_environment()))
    return layers


def _file() -> Path | None:
    """Find the file with settings; None where there is none."""
    path = Path(os.environ.get(f"{PREFIX}CONFIG") or "affidavit.toml")
    if path.is_file():
        return path
    if os.environ.get(f"{PREFIX}CONFIG"):
        msg = f"{PREFIX}CONFIG points to {path}, which is not a file. Correct it or unset it."
        raise ConfigError(msg)
    return None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path} cannot be read as TOML: {error}. Correct the file."
        raise ConfigError(msg) from error


def _table_of_service(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    found = content.get(_SERVICE, {})
    if not isinstance(found, Mapping):
        msg = f"{path}: {_SERVICE} is the table of the HTTP service. Write [{_SERVICE}] above it."
        raise ConfigError(msg)
    return found


def _read_toml(path: Path) -> dict[str, Any]:
    content = _parsed(path)
    _table_of_service(path, content)
    content.pop(_SERVICE, None)
    uri = content.pop("mongodb_uri", None)
    flat = _flatten(content)
    return flat if uri is None else flat | {"mongodb_uri": str(uri)}


def _read_environment() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(FOREIGN_VARIABLES):
            continue
        name = variable[len(PREFIX) :].lower()
        if name == "mongodb_uri":
            found[name] = text
        elif name in SETTINGS:
            found[name] = from_text(SETTINGS[name], text, variable)
        elif name != "config":
            known = [PREFIX + n.upper() for n in (*SETTINGS, "mongodb_uri", "config")]
            raise ConfigError(_unknown(variable, known))
    return found


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else " `affidavit config` lists all settings."
    return f"Unknown setting {name!r}.{hint}"


def _checked(name: str, value: object, where: str) -> object:
    setting = SETTINGS.get(name)
    if setting is None:
        raise ConfigError(_unknown(name, list(SETTINGS)))
    return setting.check(value, where)


_GROUPS: Final[dict[str, dict[str, str]]] = {
    # The groups of the document's OPTIMIZATION_STRATEGIES: inner key -> setting ("" = text only)
    "batch_writes": {"buffer_size": "batch_size", "flush_interval": "flush_interval"},
    "compression": {"field_compression": "compress_large_fields"},
    "selective_logging": {"skip_successful": "", "truncate_large": ""},
}


def _flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Unfold the groups of OPTIMIZATION_STRATEGIES into plain settings."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in _GROUPS or not isinstance(value, Mapping):
            flat[name] = value
            continue
        if name == "batch_writes":
            flat["batch_writes"] = True
        for inner, inner_value in value.items():
            if inner == "benefit":  # the document's claim, a text; docs/claims.md has it measured
                continue
            target = _GROUPS[name].get(inner)
            if target is None:
                known = [f"{name}.{key}" for key in _GROUPS[name]]
                raise ConfigError(_unknown(f"{name}.{inner}", known))
            if inner == "skip_successful" and inner_value:
                msg = (
                    "selective_logging.skip_successful=True would leave calls unrecorded, which an "
                    "audit log does not do. Set it to False; truncation saves space instead."
                )
                raise ConfigError(msg)
            if inner == "truncate_large":
                flat["max_field_size"] = (
                    SETTINGS["max_field_size"].default if inner_value else 2**20
                )
            elif target:
                flat[target] = inner_value
    return flat


def _check_together(config: AuditConfig) -> None:
    parse_hosts(config.guard_hosts)
    _monitor_settings.check(config.monitoring_thresholds, config.budgets)
    if config.on_failure == "refuse" and config.async_writes:
        msg = (
            "on_failure='refuse' needs an acknowledgement to wait for, and async_writes=True gives "
            "none. Set async_writes=False, or on_failure='spool'."
        )
        raise ConfigError(msg)
    if config.on_failure == "refuse" and config.batch_writes and config.durable == "store":
        msg = (
            "on_failure='refuse' with batch_writes=True can promise the spool only. "
            "Set durable='spool', or batch_writes=False."
        )
        raise ConfigError(msg)
    for name in ("legacy_timezone", "reporting_timezone"):
        zone = getattr(config, name)
        if zone is None:
            continue
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f"{name}={zone!r} is not a known time zone. Use a name such as 'Europe/Madrid'."
            raise ConfigError(msg) from error
