"""A report as Markdown and as HTML: self-contained, without scripts, every text escaped."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from affidavit.analytics.answers import plain
from affidavit.analytics.report import Report, Section, Table

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control characters, bidirectional marks and the like: nothing in a record may steer a reader."""

_SIGNS: Final = re.compile(r"([\\`*_{}\[\]<>#|~&])")
"""What Markdown would take for itself."""

_STYLE: Final = """\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
body{color:#1a1a1a;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.5rem;border-bottom:1px solid #767676}
h3{font-size:1rem;margin-bottom:.3rem}
table{border-collapse:collapse;margin-bottom:1rem;width:100%}
th,td{padding:.2rem .6rem;border-bottom:1px solid #d0d0d0;text-align:left;vertical-align:top}
td{overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
tr:last-child td{border-bottom:1px solid #767676}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def as_markdown(report: Report) -> str:
    """Write the report as Markdown (GitHub's tables)."""
    return "\n".join([f"# {_title(report)}", "", *_markdown(report)]) + "\n"


def _markdown(report: Report) -> Iterator[str]:
    for line in _head(report):
        yield _md(line)
    for section in report.sections:
        yield from ("", f"## {_md(section.title)}")
        for line in section.lines:
            yield from ("", _md(line))
        for table in section.tables:
            yield from ("", *_md_table(table))


def _md_table(table: Table) -> Iterator[str]:
    if table.title:
        yield from (f"### {_md(table.title)}", "")
    yield _md_row(table.columns)
    rules = ("---:" if at in table.numbers else "---" for at in range(len(table.columns)))
    yield f"| {' | '.join(rules)} |"
    for row in table.rows:
        yield _md_row(row)


def _md_row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(_md(cell) for cell in cells)} |"


def _md(text: str) -> str:
    escaped = _SIGNS.sub(r"\\\1", visible(text))
    return escaped.replace("://", "&#58;//")  # else it would become a link


def as_html(report: Report) -> str:
    """Write the report as one page of HTML without scripts, pictures or anything from elsewhere."""
    title = escape(_title(report))
    body = "\n".join(_html(report))
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def _html(report: Report) -> Iterator[str]:
    for line in _head(report):
        yield f"<p>{_text(line)}</p>"
    for section in report.sections:
        yield from _html_section(section)


def _html_section(section: Section) -> Iterator[str]:
    yield f"<section>\n<h2>{_text(section.title)}</h2>"
    for line in section.lines:
        yield f"<p>{_text(line)}</p>"
    for table in section.tables:
        if table.title:
            yield f"<h3>{_text(table.title)}</h3>"
        yield "<table>"
        if any(table.columns):
            yield f"<thead>{_html_row('th', table.columns, table.numbers)}</thead>"
        yield "<tbody>"
        for row in table.rows:
            yield _html_row("td", row, table.numbers)
        yield "</tbody>\n</table>"
    yield "</section>"


def _html_row(kind: str, cells: tuple[str, ...], numbers: frozenset[int]) -> str:
    made = (
        f"<{kind}{' class=n' if at in numbers else ''}>{_text(cell)}</{kind}>"
        for at, cell in enumerate(cells)
    )
    return f"<tr>{''.join(made)}</tr>"


def as_json(report: Report) -> str:
    """Write the figures as JSON, in ASCII."""
    return json.dumps(as_dict(report), indent=2) + "\n"


def as_dict(report: Report) -> dict[str, Any]:
    """Give the figures as plain values: money as decimal texts, times in ISO 8601."""
    made: dict[str, Any] = plain({
        "format": "affidavit report v1",
        "month": report.month,
        "timezone": report.timezone,
        "since": report.since,
        "until": report.until,
        "made_at": report.made_at,
        "origin": report.origin,
        "whole": report.whole,
        **report.figures,
    })  # fmt: skip
    return made


def visible(text: str) -> str:
    """Write characters that would not be seen, or would steer the reader, as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) in _UNSAFE else c for c in text)


def _text(text: str) -> str:
    return escape(visible(text))


def _title(report: Report) -> str:
    return f"Report of language-model calls, {report.month}"


def _head(report: Report) -> Iterator[str]:
    log = report.origin or "a log that nobody has sealed"
    yield f"Log {log}; made {report.made_at:%Y-%m-%d %H:%M:%S} UTC; days are of {report.timezone}."
