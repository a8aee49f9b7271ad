"""LiteLLM's callback without LiteLLM: what it reads, and what it says when there is none.

The callback with the real package: ``tests/integration/capture/with_litellm.py``.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from affidavit import MissingExtra
from affidavit.capture import litellm
from affidavit.testing import capture_events

pytestmark = pytest.mark.requirement("R1")

TURNS = [{"role": "user", "content": "Analyze BTCUSDT"}]
START = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_request_is_read_as_the_application_wrote_it() -> None:
    """Provider and model apart, parameters without keys and LiteLLM's own, the end user."""
    said = litellm.asked(
        "acompletion",
        {
            "model": "vertex_ai/gemini-3", "messages": TURNS, "temperature": 0.5, "api_key": "k",
            "litellm_logging_obj": object(), "tools": [{"name": "t"}], "user": "ana",
            "metadata": {"session_id": "s1"},
        },
    )  # fmt: skip
    assert said == {
        "provider": "gcp.vertex_ai",
        "model": "gemini-3",
        "messages": TURNS,
        "parameters": {"temperature": 0.5},
        "fields": {"operation": "chat", "tools": [{"name": "t"}]},
        "user_id": "ana",
        "session_id": "s1",
    }


def test_a_model_without_a_prefix_is_openais() -> None:
    """Unless the request names the provider."""
    assert litellm.asked("acompletion", {"model": "gpt-4o"})["provider"] == "openai"
    said = litellm.asked("acompletion", {"model": "gpt-4o", "custom_llm_provider": "azure"})
    assert (said["provider"], said["model"]) == ("azure.ai.openai", "gpt-4o")


@pytest.mark.parametrize(
    ("call_type", "operation"),
    [
        ("completion", "chat"),
        ("acompletion", "chat"),
        ("atext_completion", "text_completion"),
        ("aembedding", "embeddings"),
        ("image_generation", "image_generation"),
        ("aspeech", "aspeech"),
    ],
)
def test_operations_have_the_names_of_the_conventions(call_type: str, operation: str) -> None:
    """Where they have one."""
    said = litellm.sent("m", TURNS, {"call_type": call_type, "custom_llm_provider": "openai"})
    assert said["fields"]["operation"] == operation


def answer(**usage: Any) -> Any:
    """An answer as LiteLLM hands it over."""
    message = SimpleNamespace(content="Up.", tool_calls=None, reasoning_content="Because.")
    choice = SimpleNamespace(message=message, finish_reason="stop")
    return SimpleNamespace(id="c1", model="m", choices=[choice], usage=SimpleNamespace(**usage))


def test_an_answer_is_read_with_its_details() -> None:
    """Cached and reasoning tokens, and the cost LiteLLM worked out, marked as its."""
    said = litellm.answered(
        {"response_cost": 0.25},
        answer(
            prompt_tokens=12,
            completion_tokens=5,
            prompt_tokens_details=SimpleNamespace(cached_tokens=10),
            completion_tokens_details=SimpleNamespace(reasoning_tokens=3),
        ),
        "openai",
    )
    counts = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    assert [said[name] for name in counts] == [12, 5, 10, 3]
    assert (said["text"], said["finish_reason"], said["cost_usd"]) == ("Up.", "stop", 0.25)
    assert said["fields"]["cost_source"] == "litellm"
    assert said["fields"]["reasoning"] == "Because."


def test_a_cost_of_nothing_is_a_cost_not_known() -> None:
    """LiteLLM says 0 where it knows no price."""
    assert "cost_usd" not in litellm.answered({"response_cost": 0.0}, answer(), "openai")


def test_an_answer_from_its_cache_costs_nothing() -> None:
    """Else its tokens would be priced as if the provider had been asked."""
    hit = {"response_cost": 0.0, "cache_hit": True}
    assert litellm.answered(hit, answer(prompt_tokens=9), "openai")["cost_usd"] == 0


@pytest.mark.parametrize(
    ("provider", "options", "estimated"),
    [
        ("openai", None, True),
        ("openai", {"include_usage": True}, False),
        ("anthropic", None, False),
    ],
)
def test_usage_that_litellm_counted_itself_is_marked(
    provider: str, options: Any, estimated: bool
) -> None:
    """A stream's usage is told only where it was asked for, or always comes."""
    kwargs = {
        "stream": True, "stream_options": options, "api_call_start_time": START,
        "completion_start_time": START + timedelta(milliseconds=125),
    }  # fmt: skip
    said = litellm.answered(kwargs, answer(), provider)
    assert ("usage_estimated" in said["fields"]) is estimated
    assert said["time_to_first_token_ms"] == 125.0


def test_without_litellm_the_error_says_what_to_install() -> None:
    """It is no dependency, and importing this module does not import it."""
    code = (
        "import sys; sys.modules['litellm'] = None\n"
        "from affidavit import MissingExtra\n"
        "from affidavit.capture.litellm import callback\n"
        "try: callback(None)\n"
        "except MissingExtra as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install litellm" in ran.stdout


def test_a_call_begins_once_and_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM tells some things twice, and some never."""
    base = type("CustomLogger", (), {})
    module = SimpleNamespace(CustomLogger=base)
    monkeypatch.setattr(litellm, "import_module", lambda _: module)
    with capture_events() as captured:
        made = litellm.callback(captured.audit)
        kwargs = {"litellm_call_id": "1", "call_type": "completion"}
        made.log_pre_api_call("m", TURNS, kwargs)
        made.log_pre_api_call("m", TURNS, kwargs)
        made.log_success_event(kwargs, answer(), None, None)
        made.log_success_event(kwargs, answer(), None, None)
        made.log_failure_event({"litellm_call_id": "2"}, None, None, None)
        made.log_pre_api_call("m", TURNS, {"litellm_call_id": "3", "optional_params": 7})
        assert [r["status"] for r in captured.records] == ["initiated", "completed"]


def test_the_error_is_one_of_ours() -> None:
    """As for every optional package."""
    assert issubclass(MissingExtra, ImportError)
