"""The fields of every answer of ``audit.analytics``, read from the classes and their docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

from affidavit.analytics.answers import Answer
from affidavit.analytics.facade import Analytics

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = {"key": "what the group is, under the names that were asked"}
"""What is said of fields that explain themselves, where their class says nothing."""


def answers() -> str:
    """Write each question with the fields of its rows and totals."""
    lines = ["## Every answer", "", *_table(Answer, skip=())]
    for name, method in inspect.getmembers(Analytics, inspect.isfunction):
        if name.startswith("_") or name in {"close", "seen_by"}:
            continue
        row, totals = get_type_hints(method, include_extras=True)["return"].__args__
        lines += [f"## `{name}`", "", _first(method), "", f"Rows: {_first(row)}", "", *_table(row)]
        if totals is row:
            lines += ["The totals have the same fields.", ""]
        else:
            known = tuple(f.name for f in fields(row)) if issubclass(totals, row) else ()
            more = " The fields of rows, and:" if known else ""
            lines += [f"Totals: {_first(totals)}{more}", "", *_table(totals, skip=("key", *known))]
    return "\n".join(lines)


def _table(kind: type, skip: tuple[str, ...] = ("key",)) -> Iterator[str]:
    said = _said(kind)
    yield "| field | kind | meaning |"
    yield "|---|---|---|"
    for field in fields(kind):
        if field.name not in skip:
            text = said.get(field.name) or _PLAIN.get(field.name, "")
            yield f"| `{field.name}` | {_kind(field.type)} | {text} |"
    yield ""


def _said(kind: type) -> dict[str, str]:
    """Collect the docstrings of fields, those of base classes too."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        if each.__module__.startswith("affidavit."):
            module = ast.parse(inspect.getsource(sys.modules[each.__module__]))
            for node in module.body:
                if isinstance(node, ast.ClassDef) and node.name == each.__name__:
                    found |= _of_class(node)
    return found


def _of_class(tree: ast.ClassDef) -> dict[str, str]:
    found = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            if isinstance(text, ast.Constant):
                found[node.target.id] = _words(str(text.value))
    return found


def _kind(annotation: Any) -> str:
    """Write a type in words."""
    text = re.sub(r"\| None$", "", str(annotation)).strip()
    words = {
        "int": "whole number",
        "float": "number",
        "Decimal": "amount",
        "str": "text",
        "datetime": "time",
        "Interval": "value, low, high, n",
        "tuple[str, ...]": "texts",
        "tuple[R, ...]": "rows",
        "T": "row",
        "Mapping[str, Score]": "n and mean by name",
        "Mapping[str, Interval | None]": "value, low, high, n by name",
        "Mapping[str, str | None]": "values by key",
        "Mapping[str, Any]": "values by name",
        "BudgetState": "text",
        "PersonState": "text",
    }
    if text.startswith("Literal"):
        return "text"
    return words[text] + (" or null" if str(annotation).endswith("| None") else "")


def _first(thing: Any) -> str:
    """Give the whole docstring as one paragraph or more, without reStructuredText."""
    return _words(inspect.getdoc(thing) or "")


def _words(text: str) -> str:
    plain = re.sub(r":(?:class|meth|data|func):`~?([^`]+)`", r"`\1`", inspect.cleandoc(text))
    return " ".join(plain.replace("``", "`").split())
