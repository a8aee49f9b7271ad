"""What the same calls would have cost at another model's prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from affidavit.analytics.answers import Answer, Row, answer, order, ratio
from affidavit.analytics.questions import Request
from affidavit.errors import ConfigError
from affidavit.pricing import Book, Rates, Usage
from affidavit.pricing.rates import rounded
from affidavit.store.analytics import Engine
from affidavit.tally.sums import Sums, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfRow(Row):
    """Calls of one group, as they were paid and at the other prices, in US dollars."""

    calls: int
    unpriced: int
    """Calls whose actual cost is not known: the difference is too large by it."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    actual_usd: Decimal
    what_if_usd: Decimal | None
    """None where the other model has no price for what was used."""
    difference_usd: Decimal | None
    """What if less actual: below 0 is a saving."""
    change: float | None


def what_if(
    engine: Engine, request: Request, book: Book, provider: str, model: str
) -> Answer[WhatIfRow, WhatIfRow]:
    """Answer what these calls would have cost with that model.

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
    question = request.sums("cost", "tokens")
    source = engine.source(question)
    total = Sums()
    rows = []
    nano: int | None = 0
    for key, sums in engine.sums(question):
        total.merge(sums)
        found = _nano(rates, sums)
        nano = None if found is None or nano is None else nano + found
        rows.append(_row(request.named(key), sums, found))
    sizes = {id(row): int(row.actual_usd.scaleb(9)) for row in rows}
    when = f"Prices of {provider} {model} at {at:%Y-%m-%d}, of the price book {book.name}."
    notes = [f"{when} The same numbers of tokens are assumed: another model counts them otherwise."]
    unsplit = total.tokens - total.input_tokens - total.output_tokens
    if unsplit > 0:
        notes.append(
            f"{unsplit} tokens are not told apart as input and output, as older loggers leave "
            "them: they count as nothing at the other prices."
        )
    if total.unpriced:
        notes.append(f"{total.unpriced} calls have no price of their own: they cost nothing here.")
    totals = _row({}, total, nano)
    return answer("what_if", request, source, order(request, rows, sizes), totals, *notes)


def _row(key: dict[str, str | None], sums: Sums, nano: int | None) -> WhatIfRow:
    more = None if nano is None else nano - sums.cost_nano
    return WhatIfRow(
        key=key,
        calls=sums.calls,
        unpriced=sums.unpriced,
        input_tokens=sums.input_tokens,
        cached_tokens=sums.cached_tokens,
        output_tokens=sums.output_tokens,
        actual_usd=sums.cost_usd,
        what_if_usd=None if nano is None else usd(nano),
        difference_usd=None if more is None else usd(more),
        change=None if more is None else ratio(more, sums.cost_nano),
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
