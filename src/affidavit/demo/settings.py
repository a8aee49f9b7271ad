"""What the demo's processes tell each other: the assistant's settings and its prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

VARIABLE = "TRADING_ASSISTANT_SETTINGS"
"""Environment variable of the assistant's process. Not an argument: the URI may hold a password."""

USERS = {
    "ana": "research",
    "bruno": "trading",
    "carla": "trading",
    "dana": "risk",
    "intern": "research",
    "mallory": "trading",
}
"""Who works with the assistant, and in which department."""

_PER_TOKENS = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """US dollars for a million tokens. Invented for the demo; exact all the same."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def cost_usd(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal:
        """The price of one call; ``input_tokens`` includes the cached ones."""
        fresh = input_tokens - cached_tokens
        total = self.input * fresh + self.cached * cached_tokens + self.output * output_tokens
        return total / _PER_TOKENS


class Provider(msgspec.Struct, frozen=True):
    """Where a model is served, what it costs there, and how long it may take to answer.

    ``api`` is whose SDK speaks to it.
    """

    base_url: str
    models: list[str]
    price: Price
    timeout_s: float = 30.0
    api: Literal["openai", "anthropic"] = "openai"


class Settings(msgspec.Struct, frozen=True):
    """What the assistant needs to know.

    Attributes:
        mongodb_uri: where the audit log goes.
        audit: settings of ``AuditConfig``; the profile is one of them.
        providers: by name; the first is the default.
        requests_per_minute: by user; who is not in it has no limit.
    """

    mongodb_uri: str
    audit: dict[str, Any]
    providers: dict[str, Provider]
    requests_per_minute: dict[str, int] = {}

    @property
    def prices(self) -> dict[str, Price]:
        """The price of each model."""
        return {
            model: provider.price
            for provider in self.providers.values()
            for model in provider.models
        }


CANNED_PRICE = Price(Decimal("3.00"), Decimal("0.30"), Decimal("15.00"))
ANTHROPIC_PRICE = Price(Decimal("5.00"), Decimal("0.50"), Decimal("25.00"))
REAL_PRICE = Price(Decimal("0.10"), Decimal("0.05"), Decimal("0.40"))


def encode(settings: Settings) -> str:
    """The settings as text for the environment."""
    return msgspec.json.encode(settings).decode()


def decode(text: str) -> Settings:
    """The settings from :func:`encode`.

    Raises:
        msgspec.ValidationError: it is not such a text.
    """
    return msgspec.json.decode(text, type=Settings)
