"""Sentences of the program in other languages: found, filled in, and each one still said."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import affidavit
from affidavit.console.phrases import LONGEST, figure, phrases, said, sections

pytestmark = pytest.mark.requirement("R13")

ROOT = Path(affidavit.__file__).parent
COMPOSED = {
    *(f", {{0}} % {more} than the month before" for more in ("more", "less")),
    *(f"{{0}} USD, {{1}} % {more} than the month before" for more in ("more", "less")),
    *("Budget by department", "Budget by user", "records and the rollups"),
    *("{0} days ago", "{0} min ago", "{0}; {1} leaf batches wait, the oldest for {2} s"),
    *("Method Not Allowed", "{0} calls have no price and count as nothing: {1} and {2} more."),
}
"""Put together of several texts, or another program's."""

PLACE = re.compile(r"\{\d\}")


def spoken_texts() -> list[str]:
    """Every text in the sources, joined as Python joins it, with {0}, {1}… for values."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    each.value if isinstance(each, ast.Constant) else "{}" for each in node.values
                )
                found.append("".join(str(part) for part in parts))
    return found


def test_every_sentence_is_still_one_of_the_program() -> None:
    """Who changes a sentence changes its translation: what is said nowhere is not kept."""
    everything = "\n".join(spoken_texts())
    gone = [
        english
        for english in phrases("es").keys() - COMPOSED
        if any(piece not in everything for piece in _pieces(english))
    ]
    assert gone == []


def _pieces(english: str) -> list[str]:
    """What stands between values and where sentences are put together."""
    parts = re.split(r"\{\d\}|(?<=[.;]) ", english)
    return [part.strip(" ():,;.") for part in parts if part.strip(" ():,;.")]


def test_translations_have_the_values_of_their_sentences() -> None:
    """Numbered as they come in English, each of them in the translation."""
    for english, text in phrases("es").items():
        places = PLACE.findall(english)
        assert places == [f"{{{number}}}" for number in range(len(places))], english
        assert set(PLACE.findall(text)) == set(places), english
        assert text.strip(), english


def test_a_sentence_is_said_in_the_language_with_its_values() -> None:
    """Values are put in; those that are figures have the marks of the language."""
    text = "The role viewer has no right to see metrics and alerts. Roles that have it: auditor, "
    text += "admin. An administrator can make a token with one."
    assert said(text, "es") == (
        "El rol viewer no tiene derecho a ver métricas y alertas. Roles que lo tienen: auditor, "
        "admin. Un administrador puede crear un token con uno de ellos."
    )
    assert said("1,234 calls have no price and count as nothing: a b (3) and 5 more.", "es") == (
        "1.234 llamadas no tienen precio y no cuentan nada: a b (3) y 5 más."
    )
    assert said("The cost of 1,234 calls is an estimate.", "es") == (
        "El coste de 1.234 llamadas es una estimación."
    )


def test_sentences_that_are_known_are_said_among_others() -> None:
    """What is not known stays as it is."""
    assert said("Nobody knows this. No writer is alive.", "es") == (
        "Nobody knows this. No hay ningún escritor vivo."
    )
    assert said("Nobody knows this.", "es") == "Nobody knows this."
    assert said("No writer is alive.", "en") == "No writer is alive."
    assert said("", "es") == ""


def test_a_text_of_any_length_is_looked_at_quickly() -> None:
    """Too long a text is none of ours; one that nearly fits costs no time that grows with it."""
    assert said("x" * (LONGEST + 1), "es") == "x" * (LONGEST + 1)
    odd = ("The role " + " has no right to " * 200)[:LONGEST]
    assert said(odd, "es") == odd


@pytest.mark.parametrize(
    ("text", "spanish"),
    [
        ("1,234.5", "1.234,5"),
        ("12 (3.4 %)", "12 (3,4 %)"),
        ("1,200 / 3,400 ms", "1.200 / 3.400 ms"),
        ("gpt-4.1", "gpt-4.1"),
        ("-", "-"),
        ("2026-11", "2026-11"),
    ],
)
def test_figures_have_the_marks_of_the_language(text: str, spanish: str) -> None:
    """Only what is nothing but figures."""
    assert figure(text, "es") == spanish
    assert figure(text, "en") == text


def test_names_of_a_report_are_not_translated() -> None:
    """A user who is called "limit" stays so; titles, sums and states are in the language."""
    table = {
        "title": "By department",
        "columns": ["", "calls", "state"],
        "rows": [["limit", "1,000", "over"], ["all", "2,000", "within"]],
        "numbers": [1],
    }
    given = [{"title": "Costs", "lines": ["The cost of 1 calls is estimated."], "tables": [table]}]
    (made,) = sections(given, "es")
    assert made["title"] == "Costes"
    assert made["lines"] == ["El coste de 1 llamadas es una estimación."]
    (told,) = made["tables"]
    assert told["title"] == "Por departamento"
    assert told["columns"] == ["", "llamadas", "estado"]
    assert told["rows"] == [["limit", "1.000", "superado"], ["todo", "2.000", "dentro"]]
    assert sections(given, "en") == given
