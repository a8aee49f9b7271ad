"""The rules that the settings ask for."""

from __future__ import annotations

from functools import lru_cache

from affidavit.config import AuditConfig, key_bytes, public_key_bytes
from affidavit.pipeline.redact.policy import Policy
from affidavit.pipeline.redact.record import Redactor

# Read once in a process: a child forked later may not be allowed to read the file any more.
_key = lru_cache(maxsize=8)(key_bytes)
_public_key = lru_cache(maxsize=8)(public_key_bytes)


def policy_of(config: AuditConfig) -> Policy:
    """Read the policy. Raises ConfigError with the setting and the remedy."""
    return Policy.read(
        config.redaction,
        identity=config.identity,
        key=_key(config.redaction_key) if config.redaction_key else None,
        seal_to=_public_key(config.seal_public_key) if config.seal_public_key else None,
    )


def redactor_of(config: AuditConfig) -> Redactor | None:
    """Make the redactor of one thread; None where nothing is to be done at all."""
    policy = policy_of(config)
    return Redactor(policy) if policy.enabled or policy.keyed_identity else None
