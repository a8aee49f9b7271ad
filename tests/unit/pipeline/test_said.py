"""Keyed hashes of what was sent: what is found by them, and what they say to others."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit import AuditConfig, ConfigError
from affidavit.event import Dest
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.redact.configured import redactor_of
from affidavit.pipeline.said import FOUND, MOST, Fingerprints, fingerprints_of, words
from affidavit.pipeline.snapshot import take

pytestmark = pytest.mark.requirement("R20")

KEY = bytes(range(32))
PRINTS = Fingerprints(KEY)
WORDS = [f"word{number}" for number in range(400)]


def sent(text: Any, name: str = "message") -> set[int]:
    """The numbers of a request with this text."""
    document = {"event_type": "llm_request", "request_data": {name: text, "provider": "p"}}
    made = PRINTS.of_record(document)
    return set() if made is None else set(made["h"])


@given(
    st.lists(st.sampled_from(WORDS), max_size=60),
    st.lists(st.sampled_from(WORDS), min_size=FOUND, max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=60),
)
def test_enough_words_in_a_row_are_found_wherever_they_stand(
    before: list[str], common: list[str], after: list[str]
) -> None:
    """Whatever stands around a passage, in the request and in the question."""
    numbers = sent(" ".join([*before, *common, *after]))
    question = " ".join([*reversed(after), *common, *reversed(before)])
    assert numbers & PRINTS.of_question(question).passages


@pytest.mark.parametrize(
    "question",
    [
        "the price of project atlantis is 400",
        "THE  PRICE\nof “Project Atlantis” — is 400!",
        "the pri\u200bce of project atlantis is 400",
        "\uff54\uff48\uff45 price of project atlantis is 400",
    ],
)
def test_case_space_punctuation_and_invisible_characters_do_not_matter(question: str) -> None:
    """The whole text is found as it was meant."""
    assert sent("The price of Project Atlantis is 400.") & {PRINTS.of_question(question).whole}


def test_a_line_of_a_longer_text_is_found_by_itself() -> None:
    """A short line that was pasted among others."""
    numbers = sent("Translate this:\n\nAtlantis launches in March.\n\nThank you very much.")
    assert numbers & {PRINTS.of_question("Atlantis launches in March").whole}


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    """A passage of a Chinese text within another."""
    text = "本季度的收购价格将在三月三日由董事会公开宣布之后才能对外透露任何细节"
    assert len(words(text)) == len(text)
    assert sent(f"请翻译{text}谢谢") & PRINTS.of_question(text).passages


def test_turns_contents_and_inputs_are_all_looked_at() -> None:
    """Strings, parts and tool results of a conversation, and the input of embeddings."""
    question = PRINTS.of_question("buy nothing today")
    for name, value in (
        ("messages", [{"role": "user", "content": "Buy nothing today"}]),
        (
            "messages",
            [{"role": "user", "content": [{"type": "text", "text": "Buy nothing today"}]}],
        ),
        ("input", ["Buy nothing today"]),
    ):
        assert sent(value, name) & {question.whole}


def test_a_long_conversation_keeps_its_newest_turns_and_says_that_it_was_cut() -> None:
    """The field is bounded; older turns were in the records before."""
    said = [" ".join(f"{word}of{turn}" for word in WORDS) for turn in range(40)]
    turns = [{"role": "user", "content": text} for text in said]
    turns.append({"role": "user", "content": "the newest of all turns"})
    made = PRINTS.of_record({"event_type": "llm_request", "request_data": {"messages": turns}})
    assert made is not None
    assert len(made["h"]) == MOST
    assert made["cut"] > 0
    assert set(made["h"]) & {PRINTS.of_question("the newest of all turns").whole}


def test_another_key_gives_other_numbers() -> None:
    """Nobody finds a text with a key of his own."""
    other = Fingerprints(bytes(32)).of_question("The price of Project Atlantis is 400")
    assert not sent("The price of Project Atlantis is 400") & set(other.numbers)


def test_a_line_that_two_texts_share_is_told_from_the_whole() -> None:
    """A greeting in both is no sign that the text was sent."""
    question = PRINTS.of_question("Kind regards from Ana\nThe offer is 400")
    numbers = sent("Something else\nKind regards from Ana")
    assert numbers & question.lines
    assert question.whole not in numbers


def test_a_huge_text_is_looked_at_in_bounded_time() -> None:
    """Four million characters: its beginning, and no number of the whole."""
    made = PRINTS.of_record(
        {
            "event_type": "llm_request",
            "request_data": {"message": "all work and no play " * 200_000},
        }
    )
    assert made is not None
    assert len(made["h"]) < 100
    long = " ".join(f"word{number}" for number in range(300_000))
    made = PRINTS.of_record({"event_type": "llm_request", "request_data": {"message": long}})
    assert made is not None
    assert (len(made["h"]), made["cut"]) == (MOST, 1)


def test_only_requests_carry_the_field() -> None:
    """An outcome, an event and a request without texts have none."""
    for document in (
        {"event_type": "llm_response", "request_data": {"message": "said"}},
        {"event_type": "security_event", "details": {"message": "said"}},
        {"event_type": "llm_request", "request_data": {"message": None}},
        {"event_type": "llm_request", "request_data": "odd"},
    ):
        assert PRINTS.of_record(document) is None


def stored(config: AuditConfig, message: str) -> dict[str, Any]:
    """An intent as it is stored under these settings."""
    snapshot = take(
        {
            "event_type": "llm_request",
            "timestamp": 0,
            "user_id": None,
            "request_data": {"message": message},
        },
        plain=True,
    )
    chain = Chain("w", 10_240, None, redactor_of(config), fingerprints_of(config))
    return bson.decode(chain.finish(Dest.RECORDS, b"i" * 12, snapshot, 1).body)


def test_the_numbers_are_of_what_was_sent_before_redaction() -> None:
    """The address is gone from the text, and the text is found all the same."""
    message = "Write to ana@example.com about the offer"
    config = AuditConfig(said_key=f"hex:{KEY.hex()}")
    record = stored(config, message)
    assert "ana@" not in str(record["request_data"])
    assert set(record["said"]["h"]) & {PRINTS.of_question(message).whole}
    assert all(0 <= number < 2**52 for number in record["said"]["h"])


def test_without_a_key_nothing_is_stored() -> None:
    """The setting is off unless a key is given."""
    assert "said" not in stored(AuditConfig(), "Write to the board about the offer")


def test_a_key_that_is_too_short_is_refused_by_the_name_of_its_setting() -> None:
    """Not by that of the redaction's key."""
    with pytest.raises(ConfigError, match="said_key: 32 bytes"):
        fingerprints_of(AuditConfig(said_key="hex:ab"))


def test_the_key_is_not_shown() -> None:
    """Neither by the command nor in the ledger."""
    assert AuditConfig(said_key=f"hex:{KEY.hex()}").public()["said_key"] == "hex:***"


@pytest.mark.parametrize("text", ["", " …\n", "w " * 50_001])
def test_a_text_that_cannot_be_looked_for_says_why(text: str) -> None:
    """No words, or too many."""
    with pytest.raises(ValueError, match="words"):
        PRINTS.of_question(text)
