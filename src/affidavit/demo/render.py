"""The report of the demonstration as tables on a terminal, or as JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from affidavit.demo.overhead import Overhead
    from affidavit.demo.run import Report
    from affidavit.demo.tamper import Tampering

_WIDE = 100
_EVENTS = ("rate_limited", "provider_limited", "refused", "unaudited")


def as_json(report: Report) -> str:
    """The report as one JSON object; money is text, so that no digit is lost."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def show(report: Report, console: Console) -> None:
    """Print the report for a person."""
    console.print()
    console.print(_counts(report))
    console.print(_models(report))
    console.print(_calls(report, wide=console.width >= _WIDE))
    if report.overhead is not None:
        console.print(_overhead(report.overhead))
    console.print(_outage(report.outage))
    if report.tampering is not None:
        console.print(_tampering(report.tampering), soft_wrap=False, markup=False)
    console.print(_verdict(report))


def further(report: Report, address: str, *, serving: bool, console: str = "") -> str:
    """Where to look further: the console's link, and commands to copy."""
    if serving:
        door = "The console needs what affidavit[serve] installs."
        if console:
            door = f"The console, for a browser (this link works once):\n  {console}"
        return (
            f"{door}\n\nEverything still runs. In another terminal:\n{_commands(report)}\n"
            f"  curl -s {address}/analyze -H 'x-user: ana' \\\n"
            "    -H 'content-type: application/json' \\\n"
            """    -d '{"symbol": "BTCUSDT", "message": "What now?"}'\n"""
            "Press Ctrl-C to stop."
        )
    if report.own_server:
        return (
            "All servers are stopped. To look around while they run, and to verify the tampered "
            "log by\nhand: affidavit demo --serve"
        )
    return f"The records stay in your MongoDB. To look further:\n{_commands(report)}{_kept(report)}"


def _commands(report: Report) -> str:
    """Commands for another terminal; a password is never printed, so it must be filled in."""
    call_id = report.last_calls[0]["call_id"] if report.last_calls else "CALL_ID"
    words = ("tail", "search --status failed", f"show {call_id}", "status")
    hint = "   # put your password for ***" if ":***@" in report.mongodb else ""
    prefix = f"  export AFFIDAVIT_MONGODB_URI='{report.mongodb}'{hint}\n"
    lines = [f"  affidavit {word}" for word in words]
    done = report.tampering
    if done is not None and done.checkpoint:
        repeats = "says what the administrator did" if report.own_server else "finds nothing wrong"
        lines.append(f"  {done.command}   # {repeats}")
    return prefix + "\n".join(lines)


def _kept(report: Report) -> str:
    """What the run leaves on this host: the checkpoint, and the key of the user's log."""
    done = report.tampering
    if done is None or not done.checkpoint:
        return ""
    text = "\nMove the checkpoint to where nobody can change it who can change the database."
    if done.key_file:
        text += f"\nThe log's private key is in {done.key_file}: keep a backup."
    return text


def _counts(report: Report) -> Table:
    called, stored, audit = report.called, report.stored, report.audit
    table = _table("Called and stored")
    for name in ("What", "Called", "Stored"):
        table.add_column(name, justify="left" if name == "What" else "right")
    made = called["model_calls"]
    rows: list[tuple[str, Any, Any]] = [
        ("calls of a model: intents", made, stored.intents),
        ("calls of a model: outcomes", made, stored.outcomes),
        ("  completed / failed / left in mid-stream", _ended(called), ""),
        ("rate limits of the assistant", called["rate_limited"], stored.rate_limit_exceeded),
        ("rate limits of the providers", called["provider_limited"], stored.provider_limit),
        ("attacks refused", called["refused"], stored.security_event),
        ("unaudited calls, caught by the guard", called["unaudited"], stored.unaudited_egress),
        ("all records", 2 * made + sum(called[name] for name in _EVENTS), stored.records),
        ("in the spool when MongoDB came back", "", report.outage.get("spooled_at_the_end", 0)),
        ("replayed from the spool, in all", "", audit["replayed"]),
        ("in the spool now", "", audit["spooled"]),
        ("lost", "", audit["lost"]),
    ]
    for name, asked, found in rows:
        table.add_row(name, str(asked), str(found))
    return table


def _ended(called: dict[str, int]) -> str:
    return f"{called['completed']} / {called['failed']} / {called['left']}"


def _models(report: Report) -> Table:
    table = _table("Cost and latency by provider (fault-...: failures made on purpose)")
    table.add_column("Provider/model", overflow="fold")
    for head in ("Calls", "Failed", "Left", "In/out", "Cost USD", "p50 ms", "p95 ms"):
        table.add_column(head, justify="right")
    for row in report.by_model:
        table.add_row(
            f"{row.provider}/{row.model}",
            str(row.calls),
            str(row.failed),
            str(row.aborted),
            f"{row.input_tokens}/{row.output_tokens}",
            f"{row.cost_usd:.6f}",
            _number(row.p50_ms),
            _number(row.p95_ms),
        )
    calls = sum(row.calls for row in report.by_model)
    failed = sum(row.failed for row in report.by_model)
    left = sum(row.aborted for row in report.by_model)
    cost = sum((row.cost_usd for row in report.by_model), Decimal(0))
    table.add_section()
    table.add_row("together", str(calls), str(failed), str(left), "", f"{cost:.6f}", "", "")
    return table


def _calls(report: Report, *, wide: bool) -> Table:
    table = _table("The last calls, newest first")
    heads = ["Time", "Call", "User", "Model", "Status", "ms", *(["Cost USD"] if wide else [])]
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head == "Call")
    for call in report.last_calls:
        cells = [
            str(call["time"])[11:19],
            str(call["call_id"]),
            str(call["user_id"]),
            str(call["model"]),
            str(call["status"]),
            _number(call["ms"]),
            call["cost_usd"] or "-",
        ]
        table.add_row(*cells[: len(heads)])
    return table


def _overhead(overhead: Overhead) -> str:
    return (
        f"\nAuditing added {overhead.added_ms:.2f} ms to a call (95 % interval "
        f"{overhead.added_low_ms:.2f} to {overhead.added_high_ms:.2f} ms), "
        f"{overhead.percent_of_1200_ms:.2f} % of a call of 1,200 ms.\n"
        f"Measured with {overhead.pairs} pairs: {overhead.method}."
    )


def _outage(outage: dict[str, Any]) -> str:
    if not outage["what"]:
        return "\nThere was no outage in this run."
    return (
        f"\nOutage: {outage['what']}; {outage['seconds']} s. Meanwhile the users sent "
        f"{outage['requests_meanwhile']} requests, and {outage['answered_meanwhile']} of them "
        f"were answered; the slowest canned call took {_number(outage['slowest_canned_ms'])} ms."
    )


def _tampering(done: Tampering) -> str:
    if done.left_out:
        return f"\nThe log was not tampered with in this run: {done.left_out}."
    if not done.acts:
        return "\nThe log was not tampered with: something was wrong before."
    head = (
        f"\nTampering: the log was sealed, its checkpoint ({done.leaves} leaves) saved outside the "
        "database, and it verified. Then an administrator went to work in MongoDB itself:"
    )
    lines = [head]
    for act in done.acts:
        cost = f"{act.cost_usd} USD" if act.cost_usd else "no cost"
        what = "deleted the record of the outcome"
        if act.what == "edited":
            what, cost = "edited the cost", f"{cost} became {act.cost_now_usd} USD"
        lines.append(f"  {what}: call {act.call_id}, user {act.user_id}, {act.model}, {cost}")
    lines.append("Against the saved checkpoint the log says:")
    lines += [f"  {act.found_as.upper()}  {act.finding}" for act in done.acts if act.found_as]
    if done.put_back:
        lines.append("Both records were put back as they were, and the log verifies again.")
    return "\n".join(lines)


def _verdict(report: Report) -> str:
    if report.ok:
        lost = report.audit["lost"]
        found = ""
        if report.tampering is not None and report.tampering.acts:
            found = " What was done to the log afterwards was found."
        return f"\n[bold green]Everything called is stored, once. Lost: {lost}.{found}[/]"
    lines = "\n".join(f"  - {problem}" for problem in report.problems)
    return f"\n[bold red]It does not match:[/]\n{lines}"


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, int) else f"{value:.0f}"
