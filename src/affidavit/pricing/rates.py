"""Unit prices of one model at one moment, in whole numbers, and what a usage costs by them.

Prices are kept as yocto-dollars (1e-24 US dollars) for one token: 1.25 dollars per million tokens
are 1.25e18 of them. So every price with up to eighteen decimals per million is exact, and
only the finished sum is rounded: once, to nano-dollars, half-even.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final, NamedTuple, TypeAlias

from affidavit.errors import AffidavitError
from affidavit.pricing.usage import Usage

Price: TypeAlias = Decimal | tuple[Decimal, tuple[tuple[int, Decimal], ...]]
"""Dollars per million tokens (per thousand pieces); or such a price, and the prices that hold for
*all* tokens of a call once its input has more than so many."""
Prices: TypeAlias = Mapping[str, Price]
"""Kind (a name of :class:`~affidavit.pricing.usage.Usage`) to price."""

_INSIDE: Final[dict[str, tuple[str, ...]]] = {
    # The more exact ones first, as they are counted: each kind, and what it contains.
    "cache_audio_read": (),
    "cache_image_read": (),
    "cache_write_1h": (),
    "cache_read": ("cache_audio_read", "cache_image_read"),
    "cache_write": ("cache_write_1h",),
    "input_audio": ("cache_audio_read",),
    "input_image": ("cache_image_read",),
    "input_video": (),
    "input": (
        "cache_audio_read", "cache_image_read", "cache_write_1h", "cache_read", "cache_write",
        "input_audio", "input_image", "input_video",
    ),
    "reasoning": (),
    "output_audio": (),
    "output_image": (),
    "output_video": (),
    "output": ("reasoning", "output_audio", "output_image", "output_video"),
    "web_searches": (),
    "requests": (),
}  # fmt: skip
KINDS: Final = tuple(_INSIDE)
"""Everything that can have a price."""
BY_THE_THOUSAND: Final = frozenset({"web_searches", "requests"})
"""Kinds that are no tokens: their prices are per thousand."""

_EXACT: Final = Context(prec=60)
"""Of our own: an application may have changed the one that new threads get."""
_PER_MILLION: Final = Decimal("1E+18")
_PER_THOUSAND: Final = Decimal("1E+21")
_NANO: Final = 10**15
_HALF: Final = _NANO // 2
_PLACES: Final = {name: place for place, name in enumerate(Usage._fields)}
_IN, _OUT = _PLACES["input"], _PLACES["output"]

_Term: TypeAlias = tuple[int, int, tuple[int, ...]]
"""Where the number stands in the usage, yocto-dollars for each, and the places to take off it."""


class PriceError(AffidavitError):
    """A price cannot be used: it is negative, no number, or has too many decimals."""


class Rates:
    """The unit prices of one model at one moment."""

    __slots__ = ("_bands", "_needs_input", "_needs_output", "_terms", "prices")

    def __init__(self, prices: Prices) -> None:
        """Raise PriceError for a price that is no amount from 0 on with up to 18 decimals."""
        self.prices = prices
        """As they were given, dollars per million tokens."""
        starts = sorted({s for p in prices.values() if isinstance(p, tuple) for s, _ in p[1]})
        self._terms = _compiled(prices, 0)
        self._needs_input = _costs(prices.get("input"))
        self._needs_output = _costs(prices.get("output"))
        self._bands = tuple((start, _compiled(prices, start + 1)) for start in reversed(starts))

    def yocto(self, usage: Usage) -> int | None:  # noqa: C901 - calls cost more here than branches
        """Add up the cost in yocto-dollars.

        None where tokens have no price at all; where the parts are more than the whole they are
        parts of, which no provider's usage is; where nothing has a price; and where nobody told the
        tokens of a side that has one: half a cost would look like a whole one.
        """
        if (usage.input is None and self._needs_input) or (
            usage.output is None and self._needs_output
        ):
            return None
        terms = self._terms
        if self._bands:
            total_input = usage.input or 0
            for start, dearer in self._bands:
                if total_input > start:
                    terms = dearer
                    break
        total = 0
        left: dict[int, int] = {}
        for place, each, inside in terms:
            count: int = usage[place] or 0  # type: ignore[assignment]  # those places hold numbers
            if inside:
                for part in inside:
                    if part in left:
                        count -= left[part]
                if count < 0:
                    return None
            if count:
                if each < 0:
                    return None
                left[place] = count
                total += count * each
        return total if terms else None

    def nano(self, usage: Usage) -> int | None:
        """Give the cost in nano-dollars, rounded once, half-even; None as :meth:`yocto`."""
        yocto = self.yocto(usage)
        return None if yocto is None else rounded(yocto)


class Line(NamedTuple):
    """One kind of tokens and its price, for people."""

    kind: str
    price: Decimal
    per: int
    above: int | None = None
    """The price holds for calls with more input tokens than this."""


def lines(prices: Prices) -> list[Line]:
    """List prices in a fixed order."""
    found = []
    for kind in sorted(prices, key=list(Usage._fields).index):
        price, per = prices[kind], 1000 if kind in BY_THE_THOUSAND else 1_000_000
        if isinstance(price, tuple):
            found.append(Line(kind, price[0], per))
            found += [Line(kind, dearer, per, start) for start, dearer in price[1]]
        else:
            found.append(Line(kind, price, per))
    return found


def _costs(price: Price | None) -> bool:
    """Whether tokens at this price cost anything."""
    if isinstance(price, tuple):
        return any((price[0], *(dearer for _start, dearer in price[1])))
    return bool(price)


def rounded(yocto: int) -> int:
    """Round yocto-dollars to nano-dollars, half-even."""
    nano, rest = divmod(yocto, _NANO)
    if rest > _HALF or (rest == _HALF and nano & 1):
        nano += 1
    return nano


def scaled(prices: Prices, factor: Decimal) -> Prices:
    """Multiply the prices of tokens, half-even to 18 decimals; those of pieces stay."""
    if factor == 1:
        return prices
    return {
        kind: price if kind in BY_THE_THOUSAND else _times(price, factor)
        for kind, price in prices.items()
    }


def _times(price: Price, factor: Decimal) -> Price:
    if isinstance(price, tuple):
        base, tiers = price
        above = tuple((start, _product(dearer, factor)) for start, dearer in tiers)
        return _product(base, factor), above
    return _product(price, factor)


def _product(price: Decimal, factor: Decimal) -> Decimal:
    exact = _EXACT.multiply(price, factor)
    exponent = exact.as_tuple().exponent
    fits = not isinstance(exponent, int) or exponent >= -_DECIMALS
    return exact if fits else exact.quantize(_SMALLEST, context=_EXACT)


def _compiled(prices: Prices, total_input: int) -> tuple[_Term, ...]:
    """Turn the prices that hold for so many input tokens into terms, the more exact ones first.

    Input and output without a price of their own are terms too, with a price below 0: whoever used
    them, and nothing more exact that has a price, cannot be charged.
    """
    terms: list[_Term] = []
    for kind, inside in _INSIDE.items():
        price = prices.get(kind)
        place = _PLACES[kind]
        parts = tuple(_PLACES[part] for part in inside if part in prices)
        if price is not None:
            terms.append((place, _yocto(kind, _in_force(price, total_input)), parts))
        elif place in {_IN, _OUT} and prices:
            terms.append((place, -1, parts))
    return tuple(terms)


def _in_force(price: Price, total_input: int) -> Decimal:
    if not isinstance(price, tuple):
        return price
    base, tiers = price
    for start, dearer in sorted(tiers, reverse=True):
        if total_input > start:
            return dearer
    return base


def _yocto(kind: str, price: Decimal) -> int:
    factor = _PER_THOUSAND if kind in BY_THE_THOUSAND else _PER_MILLION
    if not price.is_finite() or price < 0 or price > _LARGEST:
        msg = f"The price of {kind} is {price}, which is no amount from 0 to {_LARGEST} dollars."
        raise PriceError(msg)
    exact = _EXACT.multiply(price, factor)
    whole = int(exact)
    if whole != exact:
        msg = f"The price of {kind}, {price}, has more decimals than are reckoned with (18)."
        raise PriceError(msg)
    return whole


_LARGEST: Final = Decimal(1_000_000_000)
_DECIMALS: Final = 18
_SMALLEST: Final = Decimal(1).scaleb(-_DECIMALS)
