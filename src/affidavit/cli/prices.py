"""``affidavit prices``: what the price book says, which calls have no cost, and pricing again."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from affidavit.analytics.reprice import Repriced
    from affidavit.config import AuditConfig
    from affidavit.pricing import Book, Override
    from affidavit.store.repricing import Span

commands = typer.Typer(
    help="What calls cost: the price book, calls without a cost, and pricing again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

At = Annotated[
    str | None, typer.Option("--at", help="Prices of this time (else now).", show_default=False)
]

_PROGRESS_S: Final = 5.0
_SOON: Final = timedelta(seconds=1)
"""A span without an end ends here: what is recorded meanwhile is left to the next run."""


@commands.command("list")
def list_(
    provider: Annotated[
        str | None,
        typer.Argument(help="Its models; else all providers.", show_default=False),
    ] = None,
    at: At = None,
    json: common.Json = False,
) -> None:
    """List the providers of the price book, or the models of one, with their standard prices."""
    from affidavit.cli import _output as output

    book = _book(common.settings())
    if provider is None:
        counts: dict[str, int] = {}
        for model in book.models():
            counts[model.provider] = counts.get(model.provider, 0) + 1
        _print(json, ("provider", "models"), list(counts.items()))
    else:
        moment = common.when(at, "--at") or datetime.now(UTC)
        if book.provider(provider) is None:
            _none_known(f"The price book does not know the provider {provider!r}.")
        rows: list[tuple[object, ...]] = []
        for model in book.models(provider):
            _listed, _own, rates = book.rates(model.provider, model.id, moment)
            prices = {} if rates is None else rates.prices
            shown = [prices.get(kind) for kind in ("input", "cache_read", "output")]
            rows.append((model.id, *(p[0] if isinstance(p, tuple) else p for p in shown)))
        columns = ("model", "input cost USD", "cached cost USD", "output cost USD")
        _print(json, columns, rows)
    if not json:
        own = f", with {len(book.overrides)} prices of your own" if book.overrides else ""
        output.note(f"US dollars per million tokens. Price book {book.name}{own}.")


@commands.command("show")
def show(
    provider: Annotated[str, typer.Argument(help="As records or the list name it.")],
    model: Annotated[str, typer.Argument(help="As records or the list name it.")],
    at: At = None,
    tier: Annotated[
        str, typer.Option("--tier", help="standard, batch, flex, priority or fast.")
    ] = "standard",
    json: common.Json = False,
) -> None:
    """Show the prices of a model at a time, and which entry of the book they come from.

    Exits with 1 when the book does not know the model.
    """
    from affidavit.cli import _output as output
    from affidavit.pricing.rates import lines

    moment = common.when(at, "--at") or datetime.now(UTC)
    book = _book(common.settings())
    listed, own, rates = book.rates(provider, model, moment, tier)
    if rates is None:
        _none_known(f"The price book has no price for {model!r} of {provider!r}.", f" {provider}")
        return
    origin = _origin(own) if own is not None else "the list"
    found = lines(rates.prices)
    if json:
        output.as_json(
            {
                "provider": provider if listed is None else listed.provider,
                "model": model if listed is None else listed.id,
                "at": moment,
                "tier": tier,
                "from": origin,
                "price_book": book.name,
                "prices": [line._asdict() for line in found],
            }
        )
        return
    if listed is not None:
        output.say(f"{listed.id} of {listed.provider}, {tier}, at {output.moment(moment)} UTC:")
    rows = [
        (
            line.kind,
            line.price,
            "1,000" if line.per == 1000 else "million tokens",  # noqa: PLR2004 - by the thousand
            None if line.above is None else f"more than {line.above:,} input tokens",
        )
        for line in found
    ]
    output.table(("what", "cost USD", "per", "for calls with"), rows)
    output.note(f"From {origin}; price book {book.name}.")


@commands.command("unpriced")
def unpriced(
    since: common.Since = "30d",
    until: common.Until = None,
    provider: common.Provider = None,
    model: common.Model = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """List models whose stored calls have no cost, and why. The reading is noted in the ledger.

    Failed calls that used no tokens are left out.
    """
    from affidavit.cli import _output as output
    from affidavit.pricing import STANDARD, Usage
    from affidavit.pricing.book import epoch_ms
    from affidavit.store import prices_of

    config = common.settings(collection)
    book, span = _book(config), _span(since, until, provider, model)
    with common.reading(uri, config) as log:
        found = prices_of(log).unpriced(span)
        log.note_access("prices unpriced", _asked(span), len(found))
    rows = []
    for each in found:
        reason = "no_usage"
        if each.with_tokens:
            at_ms = epoch_ms(each.last or span.until)
            # Of half a usage no chat is priced, but an embedding is.
            told = [Usage(1, 1, tier=STANDARD), *([] if each.whole else [Usage(1, tier=STANDARD)])]
            reasons = (book.price(u, each.provider, each.model, at_ms)[1] for u in told)
            reason = next(filter(None, reasons), "")
        rows.append((each, reason))
    if json:
        output.as_json(
            {
                "since": span.since,
                "until": span.until,
                "price_book": book.name,
                "unpriced": [
                    {
                        "provider": each.provider,
                        "model": each.model,
                        "calls": each.calls,
                        "calls_with_tokens": each.with_tokens,
                        "tokens": each.tokens,
                        "first": each.first,
                        "last": each.last,
                        "reason": reason or "has_a_price_now",
                    }
                    for each, reason in rows
                ],
            }
        )
        return
    output.table(
        ("provider", "model", "calls", "of them with tokens", "tokens", "last (UTC)", "why"),
        [
            (e.provider, e.model, e.calls, e.with_tokens, e.tokens, e.last, _why(reason))
            for e, reason in rows
        ],
        wrapped=("why",),
    )
    if not rows:
        output.note("Every call of that time has a cost.")


@commands.command("reprice")
def reprice(
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="From: 30m, 24h, 7d, 2026-11-01 or a full time (UTC); must be given.",
            show_default=False,
        ),
    ] = None,
    until: common.Until = None,
    provider: common.Provider = None,
    model: common.Model = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")
    ] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Price stored calls again by the price book of this installation, at each call's own time.

    Where a cost is another now, a correction record is added; nothing is edited, and a second run
    adds nothing. Costs that the application reported stand. Both runs are noted in the ledger.
    Exits with 1 when corrections were refused.
    """
    from affidavit.analytics.correcting import Corrector
    from affidavit.analytics.reprice import Repriced
    from affidavit.analytics.reprice import reprice as price_again
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.store import connect, prices_of

    config = common.settings(collection)
    book, span = _book(config), _span(since, until, provider, model)
    where = common.address(uri)
    with common.reading(uri, config) as log:
        log.note_access("prices reprice", {**_asked(span), "dry_run": dry_run}, None)
        store, progress = prices_of(log), _progress(span, output.note)
        done = Repriced(book.name)
        if dry_run:
            price_again(store, span, book, None, progress, done)
        else:
            try:
                with Corrector(lambda chosen: connect(where, chosen), config) as write:
                    price_again(store, span, book, write, progress, done)
            finally:  # also of a run that is broken off
                log.note_repricing(_noted(span, done))
    if json:
        output.as_json(_report(done, dry_run=dry_run))
    else:
        _say(done, dry_run=dry_run)
    if done.refused:
        raise typer.Exit(FOUND_WRONG)


# -- helpers ---------------------------------------------------------------------------------------


def _book(config: AuditConfig) -> Book:
    from affidavit.pricing import load, read_overrides

    return load(read_overrides(config.price_overrides))


def _span(since: str | None, until: str | None, provider: str | None, model: str | None) -> Span:
    from affidavit.store.repricing import Span

    start, end = common.span(since, until)
    if start is None:
        msg = (
            "Say with --since from when on calls are meant: --since 24h, --since 30d or --since "
            "2026-11-01. With `prices reprice`, --dry-run first says what would change."
        )
        raise ConfigError(msg)
    return Span(start, end or datetime.now(UTC) + _SOON, provider, model)


def _asked(span: Span) -> dict[str, Any]:
    named = {"provider": span.provider, "model": span.model}
    told = {name: value for name, value in named.items() if value is not None}
    return {"since": span.since, "until": span.until, **told}


def _print(json: bool, columns: tuple[str, ...], rows: list[Any]) -> None:
    from affidavit.cli import _output as output

    if json:
        names = [name.removesuffix(" cost USD") for name in columns]
        output.as_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        output.table(columns, rows)


def _none_known(text: str, provider: str = "") -> None:
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    output.note(f"{text} `affidavit prices list{provider}` shows what it has; a price of your own")
    output.note("goes into the file of price_overrides: docs/how-to/prices.md.")
    raise typer.Exit(FOUND_WRONG)


def _origin(own: Override) -> str:
    what = "its prices" if own.prices else "the list, multiplied"
    return f"price_overrides ({what}, for {own.provider} {own.model})"


def _why(reason: str) -> str:
    from affidavit.pricing import REASONS

    return REASONS.get(reason, "it has a price now: `affidavit prices reprice`")


def _progress(span: Span, tell: Callable[[str], None]) -> Callable[[Repriced, datetime], None]:
    """Say every five seconds how far it is."""
    last_s = time.monotonic()
    whole_s = max(1.0, (span.until - span.since).total_seconds())

    def told(done: Repriced, at: datetime) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= _PROGRESS_S:
            last_s = time.monotonic()
            share = 100 * (at - span.since).total_seconds() / whole_s
            tell(f"{done.looked_at:,} calls, up to {at:%Y-%m-%d %H:%M} UTC ({share:.0f} % of time)")

    return told


def _noted(span: Span, done: Repriced) -> dict[str, Any]:
    counts = ("looked_at", "corrected", "unchanged", "unpriced", "reported", "erased")
    return {
        **_asked(span),
        "price_book": done.book,
        **{name: getattr(done, name) for name in (*counts, "waiting", "refused")},
        "cost_nano_diff": done.cost_nano_diff,
    }


def _report(done: Repriced, *, dry_run: bool) -> dict[str, Any]:
    from decimal import Decimal

    counts = ("looked_at", "corrected", "unchanged", "unpriced", "reported", "erased")
    return {
        "price_book": done.book,
        "dry_run": dry_run,
        **{name: getattr(done, name) for name in (*counts, "waiting", "refused")},
        "cost_usd_diff": done.cost_usd_diff,
        "by_model": [
            {
                "provider": provider,
                "model": model,
                "calls": calls,
                "cost_usd_diff": Decimal(f"{nano}E-9"),
            }
            for (provider, model), (calls, nano) in _largest(done)
        ],
    }


def _largest(done: Repriced) -> list[tuple[tuple[str | None, str | None], tuple[int, int]]]:
    return sorted(done.by_model.items(), key=lambda item: (-abs(item[1][1]), str(item[0])))


def _say(done: Repriced, *, dry_run: bool) -> None:
    from decimal import Decimal

    from affidavit.cli import _output as output

    rows = [(*key, calls, Decimal(f"{nano}E-9")) for key, (calls, nano) in _largest(done)]
    if rows:
        output.table(("provider", "model", "calls", "difference, cost USD"), rows)
    verb = "would be corrected" if dry_run else "corrected"
    output.say(
        f"{done.looked_at} calls: {done.corrected} {verb}, {done.unchanged} cost the same, "
        f"{done.unpriced} have no price, {done.reported} were reported by the application, "
        f"{done.erased} erased."
    )
    output.say(f"Difference: {output.money(done.cost_usd_diff)} US dollars by book {done.book}.")
    if done.waiting:
        output.say(f"{done.waiting} corrections wait in the local spool for the database.")
    if done.refused:
        output.say(
            f"{done.refused} corrections were refused; `affidavit dead-letters list` says why."
        )
