"""What holds for every text and every record."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.pipeline.redact import Policy, Redactor, seal
from affidavit.pipeline.redact.scan import Scanner, merged
from bench.redaction import items
from tests.corpora.values import Values

pytestmark = pytest.mark.requirement("R21")

SCANNER = Scanner()
_PRIVATE, PUBLIC = seal.keypair()
POLICIES = {
    "default": Policy.read("default"),
    "strict": Policy.read("strict"),
    "trading": Policy.read("trading"),
    "mask": Policy.read({"kinds": {"all": "mask"}}),
    "pseudonymize": Policy.read({"kinds": {"all": "pseudonymize"}}, key=b"k" * 32),
    "seal": Policy.read({"kinds": {"all": "seal"}}, seal_to=PUBLIC),
}
KINDS_OF_VALUES = (
    *("email", "card_spaced", "card_hyphens", "iban", "iban_spaced", "dni", "nie", "steuer_spaced"),
    *(
        "nir_spaced",
        "codice",
        "nino",
        "ip",
        "ip6",
        "ssn",
        "openai",
        "anthropic",
        "aws_id",
        "github",
    ),
    *(
        "gitlab",
        "slack",
        "stripe",
        "huggingface",
        "sendgrid",
        "jwt",
        "pem",
        "phone_es_intl",
        "phone_us",
    ),
)

PIECES = [item["text"] for name in ("general", "trading") for item in items(name)] + [
    *(
        "password: ",
        "phone ",
        "card ",
        "key=",
        "@",
        "[email]",
        "<",
        "\u200b",
        "\n",
        "1",
        " ",
        "\\n",
    ),
    *(
        "\u00e9",
        "\uff10",
        "\x1e",
        "\x1f",
        "[withheld]",
        "<phone:abcdefghijklmnpq>",
        "+34 ",
        "://a:",
    ),
]


def piece(number: int) -> str:
    """Give one by its number: a strategy made of the texts themselves would print them all."""
    return PIECES[number]


pieces = st.integers(0, len(PIECES) - 1).map(piece)
texts = st.lists(pieces | st.text(max_size=20), max_size=6).map("".join)


@given(texts, st.sampled_from(sorted(POLICIES)))
@settings(max_examples=150)
def test_redacting_twice_changes_nothing(text: str, name: str) -> None:
    """What was written is not found again, whatever stands around it."""
    redactor = Redactor(POLICIES[name])
    once, _ = redactor.redact_text(text)
    assert redactor.redact_text(once)[0] == once


@given(texts)
@settings(max_examples=150)
def test_what_is_not_found_stays_to_the_letter(text: str) -> None:
    """No offset drifts: the parts between the finds are the parts of the original."""
    at, expected = 0, []
    for start, end, _kind in merged(SCANNER.find(text)):
        assert at <= start < end <= len(text)
        expected.append(text[at:start])
        at = end
    expected.append(text[at:])
    whole = "".join(expected)
    assert len(whole) + sum(e - s for s, e, _ in merged(SCANNER.find(text))) == len(text)


@given(st.text(), st.sampled_from(sorted(POLICIES)))
def test_no_text_raises(text: str, name: str) -> None:
    """Surrogates, controls, anything."""
    document = {"t": text}
    Redactor(POLICIES[name]).redact(document)
    assert "odd" not in document


@pytest.mark.parametrize("kind", KINDS_OF_VALUES)
def test_a_value_is_found_wherever_it_stands(kind: str) -> None:
    """At the start, at the end, and around the borders of powers of two."""
    values = Values(5)
    for before in (0, 1, 47, 63, 64, 255, 4095, 4096, 65_535):
        value = values.make(kind)
        text = "word " * (before // 5) + "." * (before % 5) + " " + value
        for whole in (
            text,
            text + " and so on",
            text.strip(),
            f"({value})",
            f'"{value}"',
            f"{value}, ok",
        ):
            found = merged(SCANNER.find(whole))
            covered = "".join(whole[s:e] for s, e, _ in found)
            assert value in covered, (whole[-120:], found)


@given(
    st.integers(0, 10_000),
    st.integers(0, 30),
    st.sampled_from("\u200b\u200d\u2060\ufeff\u00ad\u034f"),
)
def test_an_invisible_character_anywhere_hides_nothing(seed: int, at: int, invisible: str) -> None:
    """The find covers it as well."""
    card = Values(seed).make("card_spaced")
    at = 1 + at % (len(card) - 1)
    text = f"pay with {card[:at]}{invisible}{card[at:]} today"
    assert [text[s:e] for s, e, _ in SCANNER.find(text)] == [card[:at] + invisible + card[at:]]


@given(st.integers(0, 10_000), st.sampled_from([0xFF10, 0x0660, 0x1D7CE, 0x0966]))
def test_digits_of_other_scripts_hide_nothing(seed: int, zero: int) -> None:
    """Full-width, Arabic, mathematical, Devanagari."""
    card = Values(seed).make("card_spaced")
    other = "".join(chr(zero + int(c)) if c.isdigit() else c for c in card)
    text = f"pay with {other} today"
    assert [text[s:e] for s, e, _ in SCANNER.find(text)] == [other]


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | texts | st.binary()
)
documents = st.dictionaries(
    texts,
    st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20
    ),
    max_size=5,
)


@given(documents, st.sampled_from(sorted(POLICIES)))
@settings(max_examples=150)
def test_no_record_raises_or_is_withheld(document: dict[str, Any], name: str) -> None:
    """Any shape, any names; a second time, nothing more is found."""
    redactor = Redactor(POLICIES[name])
    redactor.redact(document)
    assert document.pop("odd", None) != ["redaction_failed"]
    document.pop("redactions", None)
    again = copy.deepcopy(document)
    redactor.redact(again)
    again.pop("redactions", None)
    assert repr(again) == repr(document)


def test_no_label_survives_in_the_corpora() -> None:
    """The value of each label is gone from the redacted text, digits and letters."""
    redactor = Redactor(POLICIES["strict"])
    for item in items("general"):
        text, _ = redactor.redact_text(item["text"])
        for span in item["spans"]:
            value = item["text"][span["start"] : span["end"]]
            assert not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text), item["id"]
