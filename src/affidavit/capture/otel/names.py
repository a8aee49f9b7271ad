"""Names of OpenTelemetry's conventions for generative AI, old and new, in this one file.

The conventions are still in development and have renamed attributes several times. What is read
takes every spelling, the newest first; what is written uses :data:`WRITTEN` only.
"""

from __future__ import annotations

from typing import Final

WRITTEN: Final = "gen-ai/0.1"
"""The version of the conventions whose names are written: the first of each list below."""

FACTS: Final[dict[str, tuple[str, ...]]] = {
    "operation": ("gen_ai.operation.name", "llm.request.type"),
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "model": ("gen_ai.request.model",),
    "model_used": ("gen_ai.response.model",),
    "conversation_id": ("gen_ai.conversation.id",),
    "response_id": ("gen_ai.response.id",),
    "finish_reasons": ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason"),
    "first_chunk_s": ("gen_ai.response.time_to_first_chunk", "gen_ai.response.time_to_first_token"),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
    "cached_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cached_tokens",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
    ),
    "input_messages": ("gen_ai.input.messages", "gen_ai.prompt"),
    "output_messages": ("gen_ai.output.messages", "gen_ai.completion"),
    "system": ("gen_ai.system_instructions",),
    "tools": ("gen_ai.tool.definitions", "gen_ai.request.tools"),
    "server_address": ("server.address", "net.peer.name"),
    "server_port": ("server.port", "net.peer.port"),
    "error_type": ("error.type", "exception.type"),
    "user_id": ("user.id", "enduser.id"),
    "session_id": ("session.id",),
}
"""Our word for a fact → the attributes that may hold it."""

PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "max_tokens": ("gen_ai.request.max_tokens", "gen_ai.request.max_output_tokens"),
    "temperature": ("gen_ai.request.temperature",),
    "top_p": ("gen_ai.request.top_p",),
    "top_k": ("gen_ai.request.top_k",),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", "llm.frequency_penalty"),
    "presence_penalty": ("gen_ai.request.presence_penalty", "llm.presence_penalty"),
    "stop": ("gen_ai.request.stop_sequences", "llm.chat.stop_sequences"),
    "seed": ("gen_ai.request.seed", "gen_ai.openai.request.seed"),
    "n": ("gen_ai.request.choice.count",),
    "stream": ("gen_ai.request.stream", "llm.is_streaming"),
    "reasoning_effort": ("gen_ai.request.reasoning.level",),
    "response_format": ("gen_ai.output.type", "gen_ai.openai.request.response_format"),
    "service_tier": ("openai.request.service_tier", "gen_ai.openai.request.service_tier"),
}
"""A parameter of the request → the attributes that may hold it."""

PROVIDERS: Final = {
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "xai": "x_ai",
    "mistralai": "mistral_ai",
    "aws_bedrock": "aws.bedrock",
}
"""Old names of providers → those of today. Others stay, in lower case."""

OPERATIONS: Final = {"completion": "text_completion", "embedding": "embeddings"}
"""Old names of operations → those of today."""

NOT_CALLS: Final = frozenset(
    {"execute_tool", "create_agent", "invoke_agent", "invoke_workflow", "retrieval", "rerank"}
)
"""Operations around calls to models; the calls inside them have spans of their own."""

IN_PARTS: Final = {
    "input": ("gen_ai.prompt.", "llm.prompts."),
    "output": ("gen_ai.completion.", "llm.completions."),
}
"""Prefixes of conversations in numbered attributes: ``gen_ai.prompt.0.role``."""

EVENTS: Final = {
    "gen_ai.content.prompt": "input",
    "gen_ai.content.completion": "output",
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "choice",
    "gen_ai.client.inference.operation.details": "details",
}
"""Events of a span that hold content → what they hold."""

ABORTS: Final = frozenset(
    {"CancelledError", "asyncio.CancelledError", "GeneratorExit", "KeyboardInterrupt"}
)
"""Values of ``error.type`` that mean the caller gave up."""
