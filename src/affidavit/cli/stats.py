"""``affidavit stats``: cost, use, performance, providers and limits."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from affidavit.analytics.answers import Answer
    from affidavit.analytics.facade import Analytics

_KINDS: Final = ("cost", "usage", "performance", "providers", "limits")
_LISTS: Final = {
    "cost": ("calls", "budget"),
    "usage": ("people",),
    "providers": ("what-if",),
}
_DEFAULT_BY: Final = {
    "cost": ("user",),
    "usage": ("user",),
    "limits": ("user",),
    "performance": ("provider", "model"),
    "providers": ("provider", "model"),
}


def stats(  # noqa: PLR0913, PLR0917 - one parameter for each option
    what: Annotated[
        str | None,
        typer.Argument(
            help="cost, usage, performance, providers or limits; cost when nothing is said.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Key to group by, such as user, department, model, day, field:symbol; several "
            "with commas.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--last", help="So long: 90m, 24h, 30d, 4w (else 30d).", show_default=False),
    ] = None,
    since: common.Since = None,
    until: common.Until = None,
    month: Annotated[
        str | None,
        typer.Option("--month", help="A month: 2026-11, this or last.", show_default=False),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Only calls with key=value; repeatable.", show_default=False),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            help="Only calls that have none of this key, such as department; repeatable.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", "-n", min=1, help="So many rows.", show_default=False)
    ] = None,
    calls: Annotated[bool, typer.Option("--calls", help="With cost: the dearest calls.")] = False,
    budget: Annotated[
        bool, typer.Option("--budget", help="With cost: a month's budgets, by user or department.")
    ] = False,
    people: Annotated[
        bool, typer.Option("--people", help="With usage: new, kept and lapsed users.")
    ] = False,
    what_if: Annotated[
        str | None,
        typer.Option(
            "--what-if",
            help="With providers: the calls at the prices of another, as openai/gpt-5-mini.",
            show_default=False,
        ),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
) -> None:
    """Show what was spent, who uses what, how quick and how good, how providers compare.

    Days and months are those of the reporting time zone, which is printed with each answer. Without
    an argument it is what was spent, by provider. The reading is noted in the ledger.
    """
    keys = tuple(name.strip() for text in by or () for name in text.split(","))
    config = common.settings(collection, legacy_timezone)
    if what is None:  # what was spent, and on which provider
        what = "cost"
        keys = keys if calls or budget else keys or ("provider",)
    common.checked(what, "stats", _KINDS)
    if json and csv:
        msg = "--json and --csv are two ways to print one answer. Leave one of them out."
        raise ConfigError(msg)
    starts, ends = _when(since, "--since"), _when(until, "--until")
    if starts and ends and type(starts) is type(ends) and starts >= ends:
        msg = (
            f"--since ({since}) does not lie before --until ({until}), so nothing can lie between "
            "them. Exchange or correct them."
        )
        raise ConfigError(msg)
    asking: dict[str, Any] = {
        "last": last,
        "since": starts,
        "until": ends,
        "month": month,
        "where": _chosen(where or (), without or ()),
        "top": top,
    }
    listed = {"calls": calls, "budget": budget, "people": people, "what-if": what_if}
    from affidavit.analytics.facade import Analytics
    from affidavit.cli import _stats as shown

    with common.reading(uri, config) as log:
        answer = _ask(Analytics(lambda: log), what, keys, asking, listed)
    if csv:
        shown.as_csv(answer)
    elif json:
        shown.as_json(answer)
    else:
        shown.table(answer)


def _ask(
    asked: Analytics,
    what: str,
    keys: tuple[str, ...],
    asking: dict[str, Any],
    listed: dict[str, bool | str | None],
) -> Answer[Any, Any]:
    """Find the question that the options mean."""
    wanted = [name for name, is_set in listed.items() if is_set]
    fits = _LISTS.get(what, ())
    if len(wanted) > 1 or not set(wanted) <= set(fits):
        allowed = " or ".join(f"--{name}" for name in fits) or "none of those"
        msg = f"affidavit stats {what} takes {allowed}, and here is --{' --'.join(wanted)}."
        raise ConfigError(msg)
    if not wanted:
        question = getattr(asked, what)
        found: Answer[Any, Any] = question(keys or _DEFAULT_BY[what], **asking)
        return found
    if wanted == ["what-if"]:
        provider, mark, model = str(listed["what-if"]).partition("/")
        if not mark or not provider or not model:
            msg = "--what-if takes a provider and a model, as --what-if openai/gpt-5-mini."
            raise ConfigError(msg)
        return asked.what_if(provider, model, keys or _DEFAULT_BY[what], **asking)
    if wanted == ["budget"]:
        if asking["last"] or asking["since"] or asking["until"] or asking["where"]:
            msg = (
                "Budgets are by month: use --month, and neither --last, --since, --until, --where, "
                "--without."
            )
            raise ConfigError(msg)
        who: Any = keys[0] if keys else "user"
        common.checked(who, "--by", ("user", "department"))
        return asked.budget(who, asking["month"])
    if keys:
        msg = f"--{wanted[0]} lists them one by one. Leave --by out."
        raise ConfigError(msg)
    return asked.calls(**asking) if wanted == ["calls"] else asked.people(**asking)


def _chosen(where: Iterable[str], without: Iterable[str]) -> dict[str, str | None]:
    """Read which calls are meant: those with a value, and those that have none."""
    found = dict(_choice(text) for text in where)
    for text in without:
        name = text.strip()
        if not name or "=" in name:
            msg = f"--without {text!r} names no key. Write --without department."
            raise ConfigError(msg)
        if name in found:
            msg = f"No call has a {name} and has none. Leave out --where or --without {name}."
            raise ConfigError(msg)
        found[name] = None
    return found


def _choice(text: str) -> tuple[str, str | None]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        msg = f"--where {text!r} chooses nothing. Write --where department=research."
        raise ConfigError(msg)
    return name.strip(), value


def _when(text: str | None, option: str) -> datetime | date | None:
    """Read a time; a day alone is one of the reporting time zone."""
    try:
        return date.fromisoformat(text) if text is not None else None
    except ValueError:
        return common.when(text, option)
