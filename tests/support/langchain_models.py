"""Two small LangChain models on the `openai` SDK, as an application would write its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, AIMessageChunk, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class CannedChat(BaseChatModel):
    """A chat model behind an OpenAI-compatible address."""

    base_url: str
    model: str = "gpt-4o"
    temperature: float = 0.5

    @property
    def _llm_type(self) -> str:
        return "canned-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": self.model, "ls_model_type": "chat"}

    def _body(self, messages: Any, stop: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        body = {"model": self.model, "messages": convert_to_openai_messages(messages), **kwargs}
        return body | ({"stop": stop} if stop else {})

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        with openai.OpenAI(base_url=self.base_url, api_key="k", max_retries=0) as client:
            return _result(client.chat.completions.create(**self._body(messages, stop, kwargs)))

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        async with openai.AsyncOpenAI(base_url=self.base_url, api_key="k", max_retries=0) as client:
            body = self._body(messages, stop, kwargs)
            return _result(await client.chat.completions.create(**body))

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        body = self._body(messages, stop, kwargs)
        with (
            openai.OpenAI(base_url=self.base_url, api_key="k", max_retries=0) as client,
            client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            ) as stream,
        ):
            for event in stream:
                chunk = _chunk(event)
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        body = self._body(messages, stop, kwargs)
        async with openai.AsyncOpenAI(base_url=self.base_url, api_key="k", max_retries=0) as client:
            stream = await client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            )
            async for event in stream:
                chunk = _chunk(event)
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk


class CannedText(LLM):
    """A model that completes a text."""

    base_url: str

    @property
    def _llm_type(self) -> str:
        return "canned-text"

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        with openai.OpenAI(base_url=self.base_url, api_key="k", max_retries=0) as client:
            made = client.completions.create(model="canned", prompt=prompt)
            return made.choices[0].text


def _usage(usage: Any) -> Any:
    if usage is None:
        return None
    asked, answered = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "input_token_details": {"cache_read": asked.cached_tokens if asked else 0},
        "output_token_details": {"reasoning": answered.reasoning_tokens if answered else 0},
    }


def _result(reply: Any) -> ChatResult:
    generations = []
    for choice in reply.choices:
        message = AIMessage(
            content=choice.message.content or "",
            tool_calls=[
                {"id": c.id, "name": c.function.name, "args": json.loads(c.function.arguments)}
                for c in choice.message.tool_calls or ()
            ],
            usage_metadata=_usage(reply.usage),
            response_metadata={
                "id": reply.id, "model_name": reply.model, "finish_reason": choice.finish_reason,
            },
        )  # fmt: skip
        generations.append(ChatGeneration(message=message))
    raw = reply.usage.model_dump() if reply.usage else None
    return ChatResult(generations=generations, llm_output={"token_usage": raw})


def _chunk(event: Any) -> ChatGenerationChunk:
    choice = event.choices[0] if event.choices else None
    told = {"id": event.id} if choice and choice.finish_reason else {}
    if choice and choice.finish_reason:
        told |= {"finish_reason": choice.finish_reason, "model_name": event.model}
    message = AIMessageChunk(
        content=(choice.delta.content or "") if choice else "",
        usage_metadata=_usage(event.usage),
        response_metadata=told,
    )
    return ChatGenerationChunk(message=message)
