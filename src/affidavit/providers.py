"""Which hosts are those of model providers, and what each provider is called.

One table for everything that has to tell a provider by its address. Names are those of the
OpenTelemetry conventions for generative AI where they have one. Pure: no look-ups, no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from typing import Final, TypeAlias

from affidavit.errors import ConfigError

HOSTS: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("api.openai.com", "*.api.openai.com"),
    "azure.ai.openai": (
        "*.openai.azure.com",
        "*.openai.azure.us",
        "*.openai.azure.cn",
        "*.cognitiveservices.azure.com",
    ),
    "azure.ai.inference": (
        "*.services.ai.azure.com",
        "*.models.ai.azure.com",
        "models.inference.ai.azure.com",
    ),
    "anthropic": ("api.anthropic.com", "*.api.anthropic.com"),
    "aws.bedrock": (
        "bedrock-runtime.*.amazonaws.com",
        "bedrock-runtime-fips.*.amazonaws.com",
        "bedrock-agent-runtime.*.amazonaws.com",
        "*.bedrock-runtime.*.amazonaws.com",
        "bedrock-runtime.*.amazonaws.com.cn",
        "bedrock-runtime.*.api.aws",
        "bedrock-mantle.*.api.aws",
    ),
    "gcp.vertex_ai": (
        "aiplatform.googleapis.com",
        "*-aiplatform.googleapis.com",
        "aiplatform.*.rep.googleapis.com",
    ),
    "gcp.gemini": ("generativelanguage.googleapis.com",),
    "mistral_ai": ("api.mistral.ai", "codestral.mistral.ai"),
    "groq": ("api.groq.com",),
    "cohere": ("api.cohere.com", "api.cohere.ai"),
    "deepseek": ("api.deepseek.com",),
    "x_ai": ("api.x.ai", "*.api.x.ai"),
    "perplexity": ("api.perplexity.ai",),
    "ibm.watsonx.ai": ("*.ml.cloud.ibm.com",),
    "openrouter": ("openrouter.ai", "*.openrouter.ai"),
    "together": ("api.together.xyz", "api.together.ai"),
    "fireworks": ("api.fireworks.ai",),
    "huggingface": (
        "api-inference.huggingface.co",
        "router.huggingface.co",
        "*.endpoints.huggingface.cloud",
    ),
    "replicate": ("api.replicate.com",),
    "ai21": ("api.ai21.com",),
    "cerebras": ("api.cerebras.ai",),
    "sambanova": ("api.sambanova.ai",),
    "nvidia": ("integrate.api.nvidia.com", "ai.api.nvidia.com"),
    "deepinfra": ("api.deepinfra.com",),
    "voyage": ("api.voyageai.com",),
    "jina": ("api.jina.ai",),
    "writer": ("api.writer.com",),
    "github": ("models.github.ai",),
    "cloudflare": ("gateway.ai.cloudflare.com",),
    "vercel": ("ai-gateway.vercel.sh",),
    "moonshot": ("api.moonshot.ai", "api.moonshot.cn"),
    "minimax": ("api.minimax.io", "api.minimax.chat"),
    "zhipu": ("open.bigmodel.cn", "api.z.ai"),
    "alibaba": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    "baidu": ("qianfan.baidubce.com",),
    "volcengine": ("ark.*.volces.com",),
    "novita": ("api.novita.ai",),
    "nebius": ("api.studio.nebius.com", "api.tokenfactory.nebius.com"),
}
"""Provider → patterns of host names; ``*`` stands for one or more labels or parts of them."""

Place: TypeAlias = tuple[re.Pattern[str], int | None]
"""A host as somebody wrote it, and the port where only that one is meant."""

_REMEMBERED: Final = 1024


def matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """Compile patterns of host names, with ``*``, into one that :meth:`fullmatch` asks."""
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")


@lru_cache(maxsize=1)
def _matchers() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, matcher(patterns)) for name, patterns in HOSTS.items())


def plain_host(host: str | bytes) -> str:
    """Write a host name as the table does: lower case, no brackets, zone or final dot."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    return text.strip("[]").partition("%")[0].rstrip(".").lower()


@lru_cache(maxsize=_REMEMBERED)
def provider_of(host: str) -> str | None:
    """Name the provider whose host this is; None for any other host."""
    plain = plain_host(host)
    for name, known in _matchers():
        if known.fullmatch(plain):
            return name
    return None


def parse_hosts(text: str | None) -> tuple[Place, ...]:
    """Read a list of hosts: ``"llm.internal, *.models.example:8443, [::1]:11434"``.

    Raises ConfigError for what is no host.
    """
    return tuple(_place(part) for part in (text or "").replace(",", " ").split())


def _place(text: str) -> Place:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):  # no port, or a bare IPv6 address
        host, port = text, ""
    if not host or not (port or "1").isdecimal() or any(sign in host for sign in "/@"):
        msg = (
            f"guard_hosts: {text!r} is no host. Write names or addresses, with a port where only "
            "that one is meant: 'llm.internal, *.models.example:8443'."
        )
        raise ConfigError(msg)
    return matcher([plain_host(host)]), int(port) if port else None
