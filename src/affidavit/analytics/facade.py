"""``audit.analytics``: questions about one log, each noted in its ledger."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Unpack
from zoneinfo import ZoneInfo

from affidavit._monitor_settings import read_budgets
from affidavit.analytics import cost as costs
from affidavit.analytics import performance as performances
from affidavit.analytics import providers as comparisons
from affidavit.analytics import usage as usages
from affidavit.analytics import whatif as alternatives
from affidavit.analytics.answers import Answer, Row
from affidavit.analytics.questions import ALIASES, Asking, Request, chosen, month_span, read
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.pricing import load, read_overrides
from affidavit.tally.times import time_key

if TYPE_CHECKING:
    from affidavit.store.mongo.log import MongoLog

ZONE: Final = "reporting_timezone"

R = TypeVar("R", bound=Row)
T = TypeVar("T", bound=Row)

By = str | Iterable[str]
Who = Literal["user", "department"]
Note = Callable[[str, Mapping[str, Any], int | None], None]
"""Notes who read what: a command, what was wanted, how much came of it."""

_ONLY: Mapping[Who, str] = {"user": "user_id", "department": "department"}


class Analytics:
    """Questions about finished calls. Any number of threads may ask.

    Keys to group by: ``user``, ``department``, ``tenant``, ``environment``, ``service``,
    ``session``, ``conversation``, ``provider``, ``model``, ``status``, ``error``,
    ``finish_reason``, ``cost_status``, ``field:<name>`` for a field of the application's own, and
    ``hour``, ``day``, ``week``, ``month``, ``hour_of_day`` and ``weekday`` of the reporting time
    zone. When and which calls: :class:`affidavit.analytics.questions.Asking`.

    Every method raises ConfigError for a question that makes no sense or has too many groups,
    StoreUnavailable when it takes too long, StoreRefused without the right to read, or to note in
    the ledger who asked.
    """

    def __init__(self, opened: Callable[[], MongoLog]) -> None:
        """``opened`` opens the log; it is called at the first question, and after a fork."""
        self._within: Mapping[str, tuple[str, ...]] | None = None
        self._note: Note | None = None
        self._shared = False
        self._opened = opened
        self._lock = threading.Lock()
        self._log: MongoLog | None = None
        self._pid = 0

    def seen_by(
        self,
        within: Mapping[str, tuple[str, ...]] | None = None,
        note: Note | None = None,
    ) -> Analytics:
        """Give the same questions for somebody who may not see everything.

        ``within`` names keys, ``department`` or ``tenant``, and the values that may be seen; it
        stands in every question to the database. ``note`` notes a reading in place of the log's
        own way: it is called with ``analytics``, what was asked, and the number of rows, before
        anything is given out. The log is shared with this object.
        """
        made = Analytics(self._reach)
        made._within, made._note, made._shared = within, note, True
        return made

    # -- questions -------------------------------------------------------------------------------

    def cost(
        self, by: By = ("user",), **asking: Unpack[Asking]
    ) -> Answer[costs.CostRow, costs.CostRow]:
        """Ask what was spent, with shares and the trend against the time before."""
        return self._ask("cost", by, asking, lambda log, asked: costs.cost(log.calls, asked))

    def calls(self, **asking: Unpack[Asking]) -> Answer[costs.CallRow, costs.CallTotals]:
        """Ask which calls cost most: the ``top`` ones, or 20."""
        return self._ask("calls", (), asking, lambda log, asked: costs.dearest(log.calls, asked))

    def budget(
        self, who: Who = "user", month: str | None = None
    ) -> Answer[costs.BudgetRow, costs.BudgetRow]:
        """Ask how a month's budgets stand, and where they will at its end; default is this month.

        Budgets are the setting ``budgets``.
        """
        if who not in _ONLY:
            msg = f"Budgets are by user or by department, not by {who!r}."
            raise ConfigError(msg)

        def stand(log: MongoLog, asked: Request) -> Answer[costs.BudgetRow, costs.BudgetRow]:
            return costs.budget(log.calls, asked, read_budgets(log.config.budgets)[who])

        return self._ask("budget", who, {"month": month or "this"}, stand)

    def usage(
        self, by: By = ("user",), **asking: Unpack[Asking]
    ) -> Answer[usages.UsageRow, usages.UsageTotals]:
        """Ask who uses what: calls, tokens, users, sessions, lengths; and new and lapsed users."""
        return self._ask("usage", by, asking, lambda log, asked: usages.usage(log.calls, asked))

    def people(self, **asking: Unpack[Asking]) -> Answer[usages.PersonRow, usages.PersonTotals]:
        """Ask which users are new, which are still there, and which stay away."""
        return self._ask("people", (), asking, lambda log, asked: usages.people(log.calls, asked))

    def limits(
        self, by: By = ("user",), **asking: Unpack[Asking]
    ) -> Answer[usages.LimitRow, usages.LimitRow]:
        """Ask who hits rate limits, of which kind, how often."""
        return self._ask("limits", by, asking, lambda log, asked: usages.limits(log.calls, asked))

    def performance(
        self, by: By = ("provider", "model"), **asking: Unpack[Asking]
    ) -> Answer[performances.PerformanceRow, performances.PerformanceRow]:
        """Ask how quick and how good: percentiles, failures, retries, scores."""
        return self._ask(
            "performance",
            by,
            asking,
            lambda log, asked: performances.performance(log.calls, asked),
        )

    def providers(
        self, by: By = ("provider", "model"), **asking: Unpack[Asking]
    ) -> Answer[comparisons.ProviderRow, comparisons.ProviderRow]:
        """Ask how providers compare, with intervals.

        For the same kind of work add its key, as in
        ``by=["field:operation", "provider", "model"]``, or choose it with ``where``.
        """
        return self._ask(
            "providers", by, asking, lambda log, asked: comparisons.providers(log.calls, asked)
        )

    def what_if(
        self,
        provider: str,
        model: str,
        by: By = ("provider", "model"),
        **asking: Unpack[Asking],
    ) -> Answer[alternatives.WhatIfRow, alternatives.WhatIfRow]:
        """Ask what the calls would have cost at another model's prices; default is this month."""
        if not any(asking.get(name) for name in ("last", "since", "until", "month")):
            asking["month"] = "this"

        def priced(
            log: MongoLog, asked: Request
        ) -> Answer[alternatives.WhatIfRow, alternatives.WhatIfRow]:
            book = load(read_overrides(log.config.price_overrides))
            return alternatives.what_if(log.calls, asked, book, provider, model)

        return self._ask("what_if", by, asking, priced)

    # -- one way for all -------------------------------------------------------------------------

    def _ask(
        self,
        question: str,
        by: By,
        asking: Mapping[str, Any],
        found: Callable[[MongoLog, Request], Answer[R, T]],
    ) -> Answer[R, T]:
        log = self._reach()
        zone = log.reporting_timezone
        given = dict(asking)
        if given.get("month") in ("this", "last"):
            given["month"] = _month(given["month"], zone)
        given["where"] = _tokens(chosen(given.get("where")), log.config)
        request = read(by, given, zone, kept=log.kept, within=self._within)
        made = found(log, request)
        config = log.config
        if config.reporting_timezone != zone and config.source(ZONE) != "default":
            other = f"The log was set up with {zone}; the setting says {config.reporting_timezone}."
            made = replace(made, notes=(other, *made.notes))
        if request.within:
            made = replace(made, notes=(*made.notes, _bounds(request.within)))
        details = {"question": question, **request.details}
        (self._note or log.note_access)("analytics", details, len(made.rows))
        return made

    def _reach(self) -> MongoLog:
        with self._lock:
            if self._log is None or self._pid != os.getpid():
                # A child of a fork leaves its parent's connections alone and opens its own.
                self._log, self._pid = self._opened(), os.getpid()
            return self._log

    def close(self) -> None:
        """Close what was opened; the next question opens it again."""
        with self._lock:
            if self._log is not None and self._pid == os.getpid() and not self._shared:
                self._log.close()
            self._log = None


class AsyncAnalytics:
    """The same questions for a program with an event loop, which threads answer.

    Each method takes, gives and raises what that of :class:`Analytics` does.
    """

    def __init__(self, asked: Analytics) -> None:
        self._asked = asked

    def seen_by(
        self,
        within: Mapping[str, tuple[str, ...]] | None = None,
        note: Note | None = None,
    ) -> AsyncAnalytics:
        """Give the same questions for somebody else; see :meth:`Analytics.seen_by`."""
        return AsyncAnalytics(self._asked.seen_by(within, note))

    async def cost(
        self, by: By = ("user",), **asking: Unpack[Asking]
    ) -> Answer[costs.CostRow, costs.CostRow]:
        """Ask what was spent; see :meth:`Analytics.cost`."""
        return await asyncio.to_thread(self._asked.cost, by, **asking)

    async def calls(self, **asking: Unpack[Asking]) -> Answer[costs.CallRow, costs.CallTotals]:
        """Ask which calls cost most; see :meth:`Analytics.calls`."""
        return await asyncio.to_thread(self._asked.calls, **asking)

    async def budget(
        self, who: Who = "user", month: str | None = None
    ) -> Answer[costs.BudgetRow, costs.BudgetRow]:
        """Ask how a month's budgets stand; see :meth:`Analytics.budget`."""
        return await asyncio.to_thread(self._asked.budget, who, month)

    async def usage(
        self, by: By = ("user",), **asking: Unpack[Asking]
    ) -> Answer[usages.UsageRow, usages.UsageTotals]:
        """Ask who uses what; see :meth:`Analytics.usage`."""
        return await asyncio.to_thread(self._asked.usage, by, **asking)

    async def people(
        self, **asking: Unpack[Asking]
    ) -> Answer[usages.PersonRow, usages.PersonTotals]:
        """Ask which users are new and which stay away; see :meth:`Analytics.people`."""
        return await asyncio.to_thread(self._asked.people, **asking)

    async def limits(
        self, by: By = ("user",), **asking: Unpack[Asking]
    ) -> Answer[usages.LimitRow, usages.LimitRow]:
        """Ask who hits rate limits; see :meth:`Analytics.limits`."""
        return await asyncio.to_thread(self._asked.limits, by, **asking)

    async def performance(
        self, by: By = ("provider", "model"), **asking: Unpack[Asking]
    ) -> Answer[performances.PerformanceRow, performances.PerformanceRow]:
        """Ask how quick and how good; see :meth:`Analytics.performance`."""
        return await asyncio.to_thread(self._asked.performance, by, **asking)

    async def providers(
        self, by: By = ("provider", "model"), **asking: Unpack[Asking]
    ) -> Answer[comparisons.ProviderRow, comparisons.ProviderRow]:
        """Ask how providers compare; see :meth:`Analytics.providers`."""
        return await asyncio.to_thread(self._asked.providers, by, **asking)

    async def what_if(
        self,
        provider: str,
        model: str,
        by: By = ("provider", "model"),
        **asking: Unpack[Asking],
    ) -> Answer[alternatives.WhatIfRow, alternatives.WhatIfRow]:
        """Ask what calls would have cost at other prices; see :meth:`Analytics.what_if`."""
        return await asyncio.to_thread(self._asked.what_if, provider, model, by, **asking)

    async def close(self) -> None:
        """Close what was opened; the next question opens it again."""
        await asyncio.to_thread(self._asked.close)


def _tokens(where: Mapping[str, str | None], config: AuditConfig) -> dict[str, str | None]:
    """Write people as the records name them: by tokens, where identity is keyed."""
    if config.identity != "keyed":
        return dict(where)
    from affidavit.pipeline.redact import act
    from affidavit.pipeline.redact.configured import policy_of
    from affidavit.pipeline.redact.record import KEYED

    key, found = policy_of(config).key, dict(where)
    for given, value in where.items():
        name = ALIASES.get(given, given)
        if key is not None and name in KEYED and value and not value.startswith("keyed:"):
            found[given] = act.identity(key, name, value)
    return found


def _bounds(within: Mapping[str, tuple[str, ...]]) -> str:
    """Say what an answer was kept to."""
    named = "; ".join(
        f"{name} {', '.join(values) if values else 'none'}" for name, values in within.items()
    )
    return f"Only calls of {named} are counted: you may see no others."


def _month(which: str, zone: str) -> str:
    """Name this month or the last one, in the zone."""
    tz = ZoneInfo(zone)
    this = time_key("month", datetime.now(UTC), tz)
    return this if which == "this" else time_key("month", month_span(this, tz).before, tz)
