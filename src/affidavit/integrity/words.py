"""A report of a verification in words, for the command and for the console alike."""

from __future__ import annotations

from typing import Final

from affidavit.integrity.findings import Level, Report, Verdict

MOST_EXCUSES: Final = 20
"""The newest are shown; the report as plain values has more."""

MOST_FINDINGS: Final = 20

_PINNED: Final = {
    "nothing": "known from the log itself only",
    "vkey": "as given",
    "configuration": "as configured",
    "checkpoint": "the one that signed the saved checkpoint",
}
_COUNTED: Final = (
    ("expired", "expired: their retention has ended, the leaves remain"),
    ("explained", "lost or refused, as the ledger says"),
    ("gaps", "numbers that never came, sealed as gaps"),
    ("late", "sealed late, out of a spool"),
    ("rebuilt", "leaves that the sealer made from stored records"),
    ("erased", "with content erased"),
    ("pending", "too new to be sealed yet"),
    ("overdue", "not sealed, and older than ten minutes: is a sealer at work? nothing proves them"),
    ("adopted", "of another logger, as they were when the adoption was closed"),
    ("unproved", "unproved: written by another logger or an older version"),
)


def told(report: Report) -> list[tuple[str, str]]:
    """Say what was looked at, as a label and a text; the label is empty where it goes on."""
    found: list[tuple[str, str]] = []
    if report.origin:
        found.append(("log", report.origin))
        found.append(("key", f"{report.vkey} ({_PINNED[report.pinned_by]})"))
    grown = "" if report.saved_size is None else f"; the saved checkpoint has {report.saved_size:,}"
    found.append(("leaves", f"{report.size:,}{grown}"))
    if report.witnesses:
        found.append(("witness", f"{', '.join(report.witnesses)}, for the saved checkpoint"))
    found.append(("records", f"{report.counts['matched']:,} read and found under their leaves"))
    found += [
        ("", f"{report.counts[name]:,} {text}") for name, text in _COUNTED if report.counts[name]
    ]
    found += [("ledger", str(excuse)) for excuse in report.excuses[-MOST_EXCUSES:]]
    found += [("anchor", shown) for shown in report.anchored]
    found += [("", f"not looked at: {limit}") for limit in report.limits]
    return found


def findings(report: Report) -> list[str]:
    """Say what is wrong, the first of it in the order of the log first."""
    found = []
    for finding in report.findings[:MOST_FINDINGS]:
        mark = "first: " if finding.first and len(report.findings) > 1 else ""
        index = finding.where.get("index")
        place = "" if index is None else f" [leaf {index}]"
        found.append(f"{finding.kind.value.upper()}  {mark}{finding.text}{place}")
    return found


def more(report: Report) -> int:
    """Count the findings that :func:`findings` leaves out."""
    return sum(report.kinds.values()) - min(len(report.findings), MOST_FINDINGS)


def verdict(report: Report) -> str:
    """Say what the verification came to, in one sentence."""
    if not report.clean or not report.size:
        return report.says
    return f"{report.says} Level: {report.level.value}."


def advice(report: Report) -> str | None:
    """Say what would make the result worth more; None where nothing is to be said."""
    if not report.clean or not report.size:
        return None
    if report.unconfirmed and report.verdict is Verdict.UNCONFIRMED:
        return (
            "The reasons in the lines that begin with `ledger` came after the saved checkpoint, or "
            "cannot be traced to their writer, and whoever may write to the ledger can give some. "
            "Ask who gave them and why. --accept-excuses takes them, once that is answered."
        )
    if report.pinned_by == "nothing":
        return (
            "The key was found with what it signed, and whoever can rewrite everything can "
            "make it look like this. Compare the key, or verify against a checkpoint that was "
            "saved outside (`affidavit checkpoint`, --checkpoint FILE)."
        )
    if report.level is Level.SELF_ATTESTED:
        return (
            "The log's key lies, or lay, on a host that writes records: `affidavit seal` was run "
            "there, or an application sealed. Let `affidavit seal` do it on one that writes none."
        )
    return None
