"""The price book: finding the model that a call meant, and what it cost at that time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from affidavit.errors import AffidavitError
from affidavit.event import EPOCH
from affidavit.pricing import matching
from affidavit.pricing.overrides import Override, Overrides
from affidavit.pricing.rates import Price, PriceError, Rates, scaled
from affidavit.pricing.schedule import FOR_EVER, Dated, When, standard_at, steady, with_variants
from affidavit.pricing.usage import STANDARD, Usage

FORMAT: Final = 1

PRICED: Final = "priced"
ESTIMATED: Final = "estimated"
REPORTED: Final = "reported"
UNPRICED: Final = "unpriced"

NO_USAGE: Final = "no_usage"
"""Nobody told how many tokens the call took, or of one side only."""
NO_MODEL: Final = "no_model"
PROVIDER_UNKNOWN: Final = "provider_unknown"
MODEL_UNKNOWN: Final = "model_unknown"
NOT_BY_TOKEN: Final = "not_by_token"  # noqa: S105 - a reason, no password
"""The model is in the book, and what the call used has no price there."""
USAGE_CONTRADICTS: Final = "usage_contradicts"
"""The parts are more than the whole (more cached tokens than input tokens, say), or absurd."""

REASONS: Final[Mapping[str, str]] = {
    NO_USAGE: "the call does not tell its input and output tokens",
    NO_MODEL: "the call names no model",
    PROVIDER_UNKNOWN: "the price book does not know the provider",
    MODEL_UNKNOWN: "the price book does not know the model",
    NOT_BY_TOKEN: "the model has no price for what was used",
    USAGE_CONTRADICTS: "more cached or reasoning tokens than input or output, or absurdly many",
}
"""Why a call has no price, in words."""

OWN_NAMES: Final[Mapping[str, str]] = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot": "moonshotai",
    "voyage": "voyageai",
    "x_ai": "x-ai",
    "zhipu": "zhipuai",
}
"""Providers as records name them, where the book has another name."""

_REMEMBERED: Final = 4096
_ABSURD: Final = 10**18
"""Nano-dollars: a call that costs a billion dollars has wrong numbers of tokens."""


class BookError(AffidavitError):
    """The price list that comes with the package cannot be read: the installation is damaged."""


class Priced(NamedTuple):
    """What a call cost."""

    cost_nano: int | None
    """Nano-dollars; None where there is no price, and never 0 instead."""
    status: str
    """``priced``, ``estimated`` (the usage was estimated), or ``unpriced``."""
    book: str
    """The book's version and short hash, as records hold it."""
    reason: str = ""
    """Why it is unpriced, one of :data:`REASONS`; else empty."""

    @property
    def cost_usd(self) -> Decimal | None:
        """Dollars, with nine decimals."""
        return None if self.cost_nano is None else Decimal(f"{self.cost_nano}E-9")


class Model(NamedTuple):
    """A model of the list."""

    provider: str
    id: str
    prices: tuple[Dated, ...]
    tiers: Mapping[str, tuple[Dated, ...]]


class _Found:
    """What is known of one provider, model and tier; remembers the prices of one span of time."""

    __slots__ = ("_entries", "_high", "_low", "_model", "_rates", "_tier", "entry")

    def __init__(self, model: Model | None, entries: tuple[Override, ...], tier: str) -> None:
        self._model = model
        self._entries = entries
        self._tier = tier
        self._low = self._high = 0
        self._rates: Rates | None = None
        self.entry: Override | None = None

    def rates(self, at_ms: int) -> Rates | None:
        if self._low <= at_ms < self._high:
            return self._rates
        model, tier = self._model, self._tier
        variants = () if model is None else model.tiers.get(tier, ())
        dated = () if model is None else model.prices
        self.entry = next((each for each in self._entries if each.when.holds(at_ms)), None)
        prices = standard_at(dated, at_ms)
        factor = Decimal(1)
        if self.entry is None:
            prices = with_variants(prices, variants, at_ms)
        else:
            if self.entry.prices:
                prices = self.entry.prices
            elif tier not in self.entry.tiers:
                prices = with_variants(prices, variants, at_ms)
            factor = self.entry.multiplier * self.entry.tiers.get(tier, Decimal(1))
        whens = [each.when for each in (*dated, *variants)]
        self._rates = Rates(scaled(prices, factor)) if prices else None
        self._low, self._high = steady([*whens, *(e.when for e in self._entries)], at_ms)
        return self._rates


class _Provider(msgspec.Struct, frozen=True):
    id: str
    models: msgspec.Raw
    match: Any = None
    """Other names it goes by."""
    fallback: tuple[str, ...] = ()
    """Providers whose models it offers too, at their prices."""


class _List(msgspec.Struct, frozen=True):
    format: int
    source: str
    version: str
    providers: tuple[_Provider, ...]


_RawModel = tuple[str, Any, Any, dict[str, Any]]


class Book:
    """A price list with one's own prices over it. For one thread: it remembers what it found."""

    def __init__(self, content: bytes, overrides: Overrides | None = None) -> None:
        """``content`` is the list's file. Raises BookError where that is damaged."""
        try:
            listed = msgspec.json.decode(content, type=_List)
        except msgspec.MsgspecError as error:
            msg = _DAMAGED
            raise BookError(msg) from error
        if listed.format != FORMAT:
            raise BookError(_DAMAGED)
        own = overrides or Overrides()
        self.version = listed.version
        self.source = listed.source
        self.sha256 = sha256(content).hexdigest()
        """Of the list's file, whole."""
        self.name = self._named(own)
        """Version and short hash: ``0.2.3-9f86d081``; with prices of one's own ``0.2.3+…``."""
        self.overrides = own.entries
        self._providers = {each.id: each for each in listed.providers}
        self._models: dict[str, list[_RawModel]] = {}
        self._found: dict[tuple[str | None, str, str], _Found | str] = {}

    def _named(self, own: Overrides) -> str:
        if not own.entries:
            return f"{self.version}-{self.sha256[:8]}"
        both = sha256(bytes.fromhex(self.sha256) + own.digest).hexdigest()
        return f"{self.version}+{both[:8]}"

    def price(
        self, usage: Usage, provider: str | None, model: str | None, at_ms: int
    ) -> tuple[int | None, str]:
        """Give the cost in nano-dollars, or None and one of :data:`REASONS`.

        ``at_ms`` is the call's time in milliseconds since 1970. Raises BookError where the list
        turns out to be damaged.
        """
        if usage.input is None and usage.output is None:
            return None, NO_USAGE
        if not model:
            return None, NO_MODEL
        key = (provider, model, usage.tier)
        found = self._found.get(key)
        if found is None:
            found = self._find(provider, model, usage.tier)
            if len(self._found) >= _REMEMBERED:  # models are named by applications
                self._found.clear()
            self._found[key] = found
        if type(found) is str:
            return None, found
        try:
            rates = found.rates(at_ms)  # type: ignore[union-attr]  # it is no text
        except PriceError as error:
            raise BookError(_DAMAGED) from error
        if rates is None:
            return None, NOT_BY_TOKEN
        nano = rates.nano(usage)
        if nano is None:
            return None, _why(usage)
        return (nano, "") if nano < _ABSURD else (None, USAGE_CONTRADICTS)

    def rates(
        self, provider: str, model: str, at: datetime, tier: str = STANDARD
    ) -> tuple[Model | None, Override | None, Rates | None]:
        """Give what the book knows of a model at a time, for showing it.

        The model of the list, the price of one's own that decides, and the prices in force.
        """
        found = self._find(provider, model, tier)
        if isinstance(found, str):
            return None, None, None
        rates = found.rates(epoch_ms(at))
        return self.model(provider, model), found.entry, rates

    def model(self, provider: str | None, name: str) -> Model | None:
        """Find a model of the list; None where it has none of that name."""
        home = self.provider(provider)
        if home is None:
            return None
        wanted = name.lower()
        for spelled in dict.fromkeys((wanted, matching.with_dashes(wanted))):
            for place in (home, *self._providers[home].fallback):
                raw = self._match(place, spelled)
                if raw is not None:
                    found = _model(place, raw)
                    # Whoever offers another's models offers its standard prices, not its tiers.
                    return found if place == home else found._replace(tiers={})
        return None

    def provider(self, name: str | None) -> str | None:
        """Give the list's own name of a provider; None where it does not know it."""
        if not name:
            return None
        plain = name.lower().strip()
        plain = OWN_NAMES.get(plain, plain)
        if plain in self._providers:
            return plain
        for each in self._providers.values():
            if each.match is not None and self._means(each.match, plain):
                return each.id
        return None

    def models(self, provider: str | None = None) -> Iterator[Model]:
        """Give all models of the list, or those of one provider."""
        home = self.provider(provider) if provider is not None else None
        for place in self._providers:
            if provider is None or place == home:
                for raw in self._read(place):
                    yield _model(place, raw)

    # -- finding -----------------------------------------------------------------------------------

    def _find(self, provider: str | None, model: str, tier: str) -> _Found | str:
        listed = self.model(provider, model)
        entries: tuple[Override, ...] = ()
        if self.overrides and provider:
            home = self.provider(provider)
            homes = tuple(dict.fromkeys(n.lower() for n in (provider, home) if n))
            names = (model.lower(),) if listed is None else (model.lower(), listed.id.lower())
            entries = tuple(each for each in self.overrides if each.fits(homes, names))
        if listed is None and not any(each.prices for each in entries):
            return PROVIDER_UNKNOWN if self.provider(provider) is None else MODEL_UNKNOWN
        return _Found(listed, entries, tier)

    def _match(self, provider: str, name: str) -> _RawModel | None:
        return next((raw for raw in self._read(provider) if self._means(raw[1], name)), None)

    def _means(self, rule: Any, name: str) -> bool:
        try:
            return matching.matches(rule, name)
        except ValueError as error:
            raise BookError(_DAMAGED) from error

    def _read(self, provider: str) -> list[_RawModel]:
        """Read the models of one provider, when they are first asked for."""
        known = self._models.get(provider)
        if known is None:
            home = self._providers.get(provider)
            try:
                known = (
                    []
                    if home is None
                    else msgspec.json.decode(home.models, type=list[_RawModel], strict=True)
                )
            except msgspec.MsgspecError as error:
                raise BookError(_DAMAGED) from error
            self._models[provider] = known
        return known


def price(
    usage: Usage, provider: str | None, model: str | None, at: datetime, book: Book
) -> Priced:
    """Say what a call would cost: this usage, of that model, at that (aware) time.

    For what-if questions as well: the usage of one call at another model's prices. Raises
    BookError where the list is damaged, ValueError for a time without a zone.
    """
    nano, reason = book.price(usage, provider, model, epoch_ms(at))
    if nano is None:
        return Priced(None, UNPRICED, book.name, reason)
    return Priced(nano, ESTIMATED if usage.is_estimated else PRICED, book.name)


def epoch_ms(at: datetime) -> int:
    """Give a time as milliseconds since 1970; raises ValueError without a zone."""
    if at.tzinfo is None:
        msg = "A time without a zone is no moment. Make it aware, for instance with tzinfo=UTC."
        raise ValueError(msg)
    gone = at - EPOCH
    return (gone.days * 86_400 + gone.seconds) * 1000 + gone.microseconds // 1000


_DAMAGED: Final = (
    "The price list of this installation cannot be read, so calls stay unpriced. Install the "
    "package again; `affidavit prices reprice` prices them later."
)


def _why(usage: Usage) -> str:
    """Say why rates that there are give no cost for a usage."""
    if usage.input is None or usage.output is None:
        return NO_USAGE
    adds_up = usage.cache_read + usage.cache_write <= usage.input
    return NOT_BY_TOKEN if adds_up and usage.reasoning <= usage.output else USAGE_CONTRADICTS


def _model(provider: str, raw: _RawModel) -> Model:
    name, _rule, prices, tiers = raw
    try:
        read = {tier: tuple(_dated(each) for each in listed) for tier, listed in tiers.items()}
        return Model(provider, name, tuple(_dated(each) for each in prices), read)
    except (TypeError, ValueError, InvalidOperation, AttributeError, KeyError) as error:
        raise BookError(_DAMAGED) from error


def _dated(raw: Sequence[Any]) -> Dated:
    """Read ``[when, prices]``; when is null, a date, or two times of day."""
    when, prices = raw
    return Dated(_read_when(when), {kind: _price(value) for kind, value in prices.items()})


def _read_when(raw: Any) -> When:
    if raw is None:
        return FOR_EVER
    if isinstance(raw, str):
        day = date.fromisoformat(raw)
        return When(epoch_ms(datetime(day.year, day.month, day.day, tzinfo=UTC)))
    start, end = raw
    return When(daily_from_ms=start * 1000, daily_to_ms=end * 1000)


def _price(raw: Any) -> Price:
    if isinstance(raw, str):
        return Decimal(raw)
    base, *tiers = raw
    return Decimal(base), tuple((int(start), Decimal(dearer)) for start, dearer in tiers)
