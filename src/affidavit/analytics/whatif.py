"""What the same calls would have cost at another model's prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from affidavit.analytics.answers import Answer, Row, answer, order, ratio
from affidavit.analytics.questions import Request
from affidavit.errors import ConfigError
from affidavit.pricing import Book, Rates, Usage
from affidavit.pricing.rates import rounded
from affidavit.store.analytics import MAX_KEYS, Engine, Key, Source, SumQuestion, TooManyGroups
from affidavit.tally.sums import Sums, usd

_SPLIT: Final = ("cost_status", "provider", "model")
"""Keys that tell calls with a price from those without one, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfRow(Row):
    """Calls of one group, as they were paid and at the other prices, in US dollars.

    Tokens and amounts are those of the calls that are compared: with a price of their own, and one
    at the other prices.
    """

    calls: int
    compared: int
    """Calls that have both prices; failed ones that used nothing are among them."""
    unpriced: int
    """Calls whose actual cost is not known: they are not compared."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    actual_usd: Decimal
    what_if_usd: Decimal | None
    """None where no call has both prices."""
    difference_usd: Decimal | None
    """What if less actual: below 0 is a saving."""
    change: float | None


@dataclass(slots=True)
class _Group:
    """Calls of one group: all of them, and those that have a price of their own."""

    every: Sums = field(default_factory=Sums)
    own: Sums = field(default_factory=Sums)
    compared: int = 0

    def add(self, sums: Sums) -> None:
        """Add calls that are told apart no further."""
        self.every.merge(sums)
        if sums.unpriced <= 0:
            self.own.merge(sums)
            self.compared += sums.calls
        elif sums.priced <= 0:
            self.compared += sums.calls - sums.unpriced  # they failed and used nothing


def what_if(
    engine: Engine, request: Request, book: Book, provider: str, model: str
) -> Answer[WhatIfRow, WhatIfRow]:
    """Answer what these calls would have cost with that model.

    Only calls that have both prices are compared, and the answer says how many are left out.
    Raises ConfigError for a model that the price book does not know.
    """
    at = min(request.now, request.span.until - timedelta(milliseconds=1))
    _model, _own, rates = book.rates(provider, model, at)
    if rates is None:
        msg = (
            f"The price book has no prices for {model!r} of {provider!r}. `affidavit prices list` "
            "shows its models; price_overrides can add one."
        )
        raise ConfigError(msg)
    source, groups = _groups(engine, request)
    total, nano, known = _Group(), 0, False
    rows = []
    for key, group in groups.items():
        found = _nano(rates, group.own) if group.compared else None
        if found is None:
            group.own, group.compared = Sums(), 0
        else:
            nano, known = nano + found, True
        total.every.merge(group.every)
        total.own.merge(group.own)
        total.compared += group.compared
        rows.append(_row(request.named(key), group, found))
    sizes = {id(row): int(row.actual_usd.scaleb(9)) for row in rows}
    when = f"Prices of {provider} {model} at {at:%Y-%m-%d}, of the price book {book.name}."
    notes = [f"{when} The same numbers of tokens are assumed: another model counts them otherwise."]
    unsplit = total.own.tokens - total.own.input_tokens - total.own.output_tokens
    if unsplit > 0:
        notes.append(
            f"{unsplit} tokens are not told apart as input and output, as older loggers leave "
            "them: they count as nothing at the other prices."
        )
    notes += _left_out(total)
    totals = _row({}, total, nano if known or not groups else None)
    return answer("what_if", request, source, order(request, rows, sizes), totals, *notes)


def _groups(engine: Engine, request: Request) -> tuple[Source, dict[Key, _Group]]:
    """Ask for the groups; where calls have no price, also by what tells those from the others."""
    question = request.sums("cost", "tokens")
    found = list(engine.sums(question))
    if any(sums.unpriced > 0 for _key, sums in found):
        more = [name for name in _SPLIT if name not in question.by]
        by = (*question.by, *more)[:MAX_KEYS]
        finer: SumQuestion = replace(question, by=by)
        try:
            # All of the answer is of this one question: the other may know of fewer calls.
            return engine.source(finer), _merged(engine.sums(finer), len(question.by))
        except TooManyGroups:
            pass  # a group of which one call has no price is left out whole, then
    return engine.source(question), _merged(found, len(question.by))


def _merged(found: Iterable[tuple[Key, Sums]], keys: int) -> dict[Key, _Group]:
    groups: dict[Key, _Group] = {}
    for key, sums in found:
        groups.setdefault(key[:keys], _Group()).add(sums)
    return groups


def _left_out(total: _Group) -> Iterable[str]:
    """Say how many calls are not compared, and why."""
    left = total.every.calls - total.compared
    if left <= 0:
        return
    yield (
        f"{total.compared:,} of {total.every.calls:,} calls are compared: those that have a price "
        f"of their own and one at the other prices. {left:,} are left out on both sides."
    )
    if total.every.unpriced > 0:
        yield (
            f"{total.every.unpriced:,} of them have no price of their own: `affidavit prices "
            "unpriced` says why."
        )
    if left > total.every.unpriced:
        yield (
            f"{left - total.every.unpriced:,} cannot be told apart from calls without a price, or "
            "the other model has no price for what they used."
        )


def _row(key: dict[str, str | None], group: _Group, nano: int | None) -> WhatIfRow:
    own = group.own
    more = None if nano is None else nano - own.cost_nano
    return WhatIfRow(
        key=key,
        calls=group.every.calls,
        compared=group.compared,
        unpriced=group.every.unpriced,
        input_tokens=own.input_tokens,
        cached_tokens=own.cached_tokens,
        output_tokens=own.output_tokens,
        actual_usd=own.cost_usd,
        what_if_usd=None if nano is None else usd(nano),
        difference_usd=None if more is None else usd(more),
        change=None if more is None else ratio(more, own.cost_nano),
    )


def _nano(rates: Rates, sums: Sums) -> int | None:
    """Price all tokens of a group at once: prices are by token, so sums do.

    Where long prompts are dearer, the group's mean prompt decides.
    """
    mean_input = sums.input_tokens // sums.calls if sums.calls else 0
    prices = {
        kind: next(
            (p for start, p in sorted(price[1], reverse=True) if mean_input > start), price[0]
        )
        if isinstance(price, tuple)
        else price
        for kind, price in rates.prices.items()
    }
    usage = Usage(
        input=sums.input_tokens,
        output=sums.output_tokens,
        cache_read=min(sums.cached_tokens, sums.input_tokens),
        reasoning=min(sums.reasoning_tokens, sums.output_tokens),
        requests=sums.calls,
    )
    yocto = Rates(prices).yocto(usage)
    return None if yocto is None else rounded(yocto)
