"""Which hosts are a provider's."""

from __future__ import annotations

import pytest

from affidavit import ConfigError
from affidavit.providers import parse_hosts, provider_of

pytestmark = pytest.mark.requirement("R1")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.openai.com", "openai"),
        ("API.OpenAI.com.", "openai"),
        ("eu.api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure.ai.openai"),
        ("api.anthropic.com", "anthropic"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
        ("vpce-0a1.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "aws.bedrock"),
        ("europe-west1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("api.mistral.ai", "mistral_ai"),
        ("api.groq.com", "groq"),
        ("api.cohere.com", "cohere"),
        ("api.deepseek.com", "deepseek"),
        ("api.x.ai", "x_ai"),
        ("api.perplexity.ai", "perplexity"),
        ("openrouter.ai", "openrouter"),
        ("api.together.xyz", "together"),
    ],
)
def test_a_providers_hosts_are_known(host: str, name: str) -> None:
    """Whatever the case, and with a final dot."""
    assert provider_of(host) == name


@pytest.mark.parametrize(
    "host", ["openai.com", "api.openai.com.example.org", "s3.amazonaws.com", "localhost", ""]
)
def test_other_hosts_are_nobodys(host: str) -> None:
    """A name that only looks like one is not taken for it."""
    assert provider_of(host) is None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("llm.internal", "llm.internal", None),
        ("llm.internal:8443", "llm.internal", 8443),
        ("*.models.example", "a.b.models.example", None),
        ("::1", "::1", None),
        ("[::1]:11434", "::1", 11434),
    ],
)
def test_a_host_of_ones_own_is_read(text: str, host: str, port: int | None) -> None:
    """With a port, a star, or as an IPv6 address."""
    ((pattern, only),) = parse_hosts(text)
    assert pattern.fullmatch(host)
    assert only == port


def test_several_hosts_are_separated_by_commas_or_spaces() -> None:
    """And none is no host."""
    assert len(parse_hosts("a, b c")) == 3
    assert parse_hosts(None) == ()


def test_an_address_with_a_scheme_is_no_host() -> None:
    """The text says what is wanted."""
    with pytest.raises(ConfigError, match=r"llm\.internal, "):
        parse_hosts("https://llm.internal")
