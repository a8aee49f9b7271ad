"""Prices of one's own: a contract's, a discount, a model that no price list has.

A TOML file of ``[[price]]`` tables; docs/how-to/prices.md shows one. The first that fits a call and
is in force decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, Final

from affidavit.errors import ConfigError
from affidavit.event import EPOCH
from affidavit.pricing.rates import KINDS, PriceError, Prices, Rates, scaled
from affidavit.pricing.schedule import When

LARGEST_FILE: Final = 1024 * 1024
"""Bytes a file may have."""

LARGEST_FACTOR: Final = 1000

TIERS: Final = ("batch", "flex", "priority", "fast")
"""Tiers that can have a multiplier."""

_ALIASES: Final = {"cached_input": "cache_read", "cached": "cache_read"}
_OTHERS: Final = ("provider", "model", "from", "until", "multiplier", "note")


@dataclass(frozen=True, slots=True)
class Override:
    """One ``[[price]]``: for which calls, when, and what."""

    provider: str
    """Pattern with ``*``, in lower case."""
    model: str
    when: When
    prices: Prices = field(default_factory=dict)
    """Dollars per million tokens; empty where the list's prices are only multiplied."""
    multiplier: Decimal = Decimal(1)
    tiers: Mapping[str, Decimal] = field(default_factory=dict)

    def fits(self, providers: tuple[str, ...], models: tuple[str, ...]) -> bool:
        """Whether it is for calls of this provider and model, under any of their names."""
        return any(fnmatchcase(name, self.provider) for name in providers) and any(
            fnmatchcase(name, self.model) for name in models
        )


@dataclass(frozen=True, slots=True)
class Overrides:
    """A file that was read."""

    entries: tuple[Override, ...] = ()
    digest: bytes = b""
    """SHA-256 of the file's bytes."""


def parse(content: bytes, name: str) -> Overrides:
    """Read the content of a file; ``name`` is for error texts.

    Raises ConfigError, naming the table and the key, for anything that is not as described.
    """
    where = f"price_overrides: {name}"
    try:
        tables = tomllib.loads(content.decode("utf-8"), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{where} cannot be read as TOML: {error}. Correct the file."
        raise ConfigError(msg) from error
    given = tables.pop("price", [])
    if tables or not isinstance(given, list) or not all(isinstance(t, dict) for t in given):
        named = f" It also has {', '.join(sorted(tables))}." if tables else ""
        msg = f"{where} must hold [[price]] tables and nothing else.{named}"
        raise ConfigError(msg)
    entries = tuple(
        _entry(table, f"{where}, [[price]] number {number}")
        for number, table in enumerate(given, start=1)
    )
    return Overrides(entries, sha256(content).digest())


def _entry(table: Mapping[str, Any], where: str) -> Override:
    known = {*KINDS, *_ALIASES, *TIERS, *_OTHERS}
    for key in table:
        if key not in known:
            msg = f"{where}: {key!r} is unknown. Known are: {', '.join(sorted(known))}."
            raise ConfigError(msg)
    prices = {}
    for key, value in table.items():
        kind = _ALIASES.get(key, key)
        if kind in KINDS:
            if kind in prices:
                msg = f"{where}: {key!r} says the price of {kind} twice. Leave one out."
                raise ConfigError(msg)
            prices[kind] = _amount(value, f"{where}: {key}")
    made = Override(
        provider=_pattern(table, "provider", where),
        model=_pattern(table, "model", where),
        when=_when(table, where),
        prices=prices,
        multiplier=_factor(table, "multiplier", where),
        tiers={tier: _factor(table, tier, where) for tier in TIERS if tier in table},
    )
    if not prices and made.multiplier == 1 and not made.tiers:
        msg = f"{where} says no price and no multiplier. Add `input` and `output`, or remove it."
        raise ConfigError(msg)
    _check_exact(made, where)
    return made


def _check_exact(made: Override, where: str) -> None:
    """Reckon each tier's prices once, so that what cannot be exact shows at the start."""
    for factor in (Decimal(1), *made.tiers.values()):
        try:
            Rates(scaled(made.prices, made.multiplier * factor))
        except PriceError as error:
            msg = f"{where}: {error}"
            raise ConfigError(msg) from error


def _pattern(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "*" if key == "model" else None)
    if not isinstance(value, str) or not value.strip():
        msg = f"{where}: {key} must be a name, or a pattern with *."
        raise ConfigError(msg)
    return value.strip().lower()


def _amount(value: Any, where: str) -> Decimal:
    """Read an amount: a number, or a text of one. Floats of TOML come as exact decimals."""
    amount: Decimal | None = None
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        try:
            amount = Decimal(value)
        except (InvalidOperation, ValueError):
            amount = None
    if amount is None or not amount.is_finite() or amount < 0:
        msg = f"{where} = {value!r} is no amount from 0 on. Write a number, such as 1.25."
        raise ConfigError(msg)
    return amount


def _factor(table: Mapping[str, Any], key: str, where: str) -> Decimal:
    factor = _amount(table.get(key, 1), f"{where}: {key}")
    if factor > LARGEST_FACTOR:
        msg = f"{where}: {key} = {factor} multiplies by more than {LARGEST_FACTOR}. Correct it."
        raise ConfigError(msg)
    return factor


def _when(table: Mapping[str, Any], where: str) -> When:
    since, until = (_moment(table, key, where) for key in ("from", "until"))
    if since is not None and until is not None and since >= until:
        msg = f"{where}: `from` does not lie before `until`, so it is never in force. Correct them."
        raise ConfigError(msg)
    return When(since, until)


def _moment(table: Mapping[str, Any], key: str, where: str) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        msg = f"{where}: {key} must be a date or a time, such as 2026-11-01 (00:00 UTC)."
        raise ConfigError(msg)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return round((aware - EPOCH).total_seconds() * 1000)
