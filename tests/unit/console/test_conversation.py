"""A call's records as a conversation, in the shapes of several providers and in none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.console.conversation import MOST_TURNS, conversation
from affidavit.console.glance import glance
from affidavit.store.questions import CallRecords

pytestmark = pytest.mark.requirement("R13")
SHA = "ab" * 32


def call(request: Any, response: Any = None, **more: Any) -> CallRecords:
    """A call with these parts."""
    whole = {"event_type": "llm_request", "request_data": request, "response_data": response}
    return CallRecords({**whole, **more}, {**whole, **more})


def kinds(found: CallRecords) -> list[tuple[str, list[str]]]:
    """Roles, and the kinds of their parts."""
    return [(t.role, [p.kind for p in t.parts]) for t in conversation(found).turns]


def test_a_single_message_is_a_turn_and_the_answer_another() -> None:
    """What an application records by hand reads like any other."""
    found = conversation(call({"message": "Why?"}, {"text": "Because."}))
    assert [(t.role, t.parts[0].text) for t in found.turns] == [
        ("user", "Why?"),
        ("assistant", "Because."),
    ]


def test_openai_s_tools_are_calls_and_results() -> None:
    """A model's call has name and arguments, a tool's answer the id of the call."""
    asked = {"id": "t0", "function": {"name": "lookup", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": "t0", "content": "42"},
    ]
    found = call({"messages": messages})
    assert kinds(found) == [("system", ["text"]), ("assistant", ["call"]), ("tool", ["result"])]
    result = conversation(found).turns[2].parts[0]
    assert (result.text, result.facts["id"]) == ("42", "t0")


def test_anthropic_s_blocks_are_parts() -> None:
    """Thoughts, calls, results and pictures stand in the turn they belong to."""
    picture = {"type": "image", "sha256": SHA, "bytes": 10, "media_type": "image/png"}
    inner = [{"type": "text", "text": "42"}, picture]
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "See"}, picture]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": inner}],
        },
    ]
    found = call({"messages": messages})
    assert kinds(found) == [
        ("user", ["text", "media"]),
        ("assistant", ["thought", "call"]),
        ("user", ["result", "media"]),
    ]
    assert conversation(found).turns[0].parts[1].facts["sha256"] == SHA


def test_items_of_the_responses_interface_are_turns() -> None:
    """Calls and outputs that stand by themselves are the model's and the tool's."""
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    assert kinds(call({"messages": items})) == [
        ("user", ["text"]),
        ("assistant", ["call"]),
        ("tool", ["result"]),
    ]


def test_several_choices_refusals_and_errors_are_all_shown() -> None:
    """Nothing that came back is left out."""
    response = {"text": "a", "texts": ["a", "b"], "reasoning": "r", "refusal": "no"}
    found = call({"message": "?"}, response, error_message="broke", error_type="E")
    assert kinds(found) == [
        ("user", ["text"]),
        ("assistant", ["thought", "text", "refusal"]),
        ("assistant", ["text"]),
        ("error", ["error"]),
    ]


def test_further_fields_stand_beside_the_conversation() -> None:
    """Parameters and the application's own fields are not lost."""
    found = conversation(
        call({"message": "?", "parameters": {"temperature": 0}, "symbol": "ABC"}, {"rate": [1, 2]})
    )
    assert found.request == {"temperature": "0", "symbol": "ABC"}
    assert found.response["rate"].split() == ["[", "1,", "2", "]"]


def test_a_very_long_conversation_keeps_its_ends() -> None:
    """What is not shown is counted."""
    messages = [{"role": "user", "content": str(n)} for n in range(MOST_TURNS + 50)]
    found = conversation(call({"messages": messages}))
    assert (len(found.turns), found.left_out) == (MOST_TURNS, 50)
    assert found.turns[-1].parts[0].text == str(MOST_TURNS + 49)


def test_what_was_erased_or_cut_is_said() -> None:
    """Groups that are gone, and the sizes of texts that were cut."""
    found = conversation(
        call(None, None, erased={"messages": b""}, truncated=[{"path": "x", "bytes": 9}])
    )
    assert found.erased == ("messages",)
    assert found.truncated[0]["bytes"] == 9
    assert found.turns == ()


_NAMES = (
    *("type", "text", "content", "role", "tool_calls", "function", "name", "messages", "sha256"),
    *("input", "output", "message", "parts", "reasoning", "texts", "id"),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(_NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(request=_JSON, response=_JSON)
def test_no_shape_of_a_record_breaks_the_page(request: Any, response: Any) -> None:
    """Whatever an application or another logger stored can be looked at."""
    found = call(request, response, truncated=request, redactions=response, odd=request)
    conversation(found)
    glance(found)
