"""Which clients of language models are installed here, and which of them can be recorded.

Looks at the names and versions of installed packages; imports none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from typing import Final


class Coverage(StrEnum):
    """How calls through a client reach the log."""

    HOOK = "hook"
    """``instrument()`` or ``audit.wrap(client)`` records each request by itself."""
    CALLBACK = "callback"
    """A callback or span processor records them, once the application has installed it."""
    NONE = "none"
    """Nothing here records them: use ``audit.call`` or ``@audit.observe``."""


@dataclass(frozen=True, slots=True)
class Known:
    """One package that speaks to language models.

    Attributes:
        oldest, below: the versions that were tested: from ``oldest`` on, below ``below``.
        way: what records its calls, in words.
    """

    package: str
    coverage: Coverage
    way: str
    oldest: str = ""
    below: str = ""


_BY_HAND: Final = "audit.call(...) or @audit.observe around its calls"
_HOOK: Final = "instrument(), or audit.wrap(client)"

CLIENTS: Final = (
    Known("openai", Coverage.HOOK, _HOOK, "1.92", "4"),
    Known("anthropic", Coverage.HOOK, _HOOK, "0.49", "3"),
    Known("litellm", Coverage.CALLBACK, "affidavit.capture.litellm", "1.80", "2"),
    Known("langchain-core", Coverage.CALLBACK, "affidavit.capture.langchain", "1.0", "2"),
    Known("opentelemetry-sdk", Coverage.CALLBACK, "affidavit.capture.otel", "1.30", "2"),
    *(
        Known(package, Coverage.NONE, _BY_HAND)
        for package in (
            "ai21",
            "aleph-alpha-client",
            "azure-ai-inference",
            "boto3",
            "cerebras-cloud-sdk",
            "cohere",
            "dashscope",
            "fireworks-ai",
            "google-cloud-aiplatform",
            "google-genai",
            "google-generativeai",
            "groq",
            "huggingface-hub",
            "ibm-watsonx-ai",
            "mistralai",
            "ollama",
            "perplexityai",
            "replicate",
            "together",
            "voyageai",
            "writer-sdk",
            "xai-sdk",
            "zhipuai",
        )
    ),
)
"""What is looked for. Packages on top of these, such as agent frameworks, use one of them."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that is installed."""

    known: Known
    version: str

    @property
    def is_tested(self) -> bool:
        """Whether this version lies among those that were tested."""
        return not self.known.oldest or (
            numbers(self.known.oldest) <= numbers(self.version) < numbers(self.known.below)
        )


def installed() -> list[Client]:
    """List the clients in this process's environment, in the order of :data:`CLIENTS`."""
    found = []
    for known in CLIENTS:
        try:
            version = metadata.version(known.package)
        except metadata.PackageNotFoundError:
            continue
        found.append(Client(known, version or "unknown"))
    return found


def numbers(version: str) -> tuple[int, ...]:
    """Read the numbers a version begins with: ``"2.1.0rc1"`` is ``(2, 1, 0)``."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
