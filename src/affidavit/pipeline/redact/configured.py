"""The rules that the settings ask for."""

from __future__ import annotations

import difflib
import logging
from functools import lru_cache
from typing import Final

from affidavit.config import AuditConfig, key_bytes, public_key_bytes
from affidavit.pipeline.redact import own
from affidavit.pipeline.redact.policy import Policy
from affidavit.pipeline.redact.record import Redactor

_STEPS: Final = 2

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
    for rule in policy.fields:
        _doubt(rule.path)
    return Redactor(policy) if policy.enabled or policy.keyed_identity else None


def _doubt(path: tuple[str, ...]) -> None:
    """Warn of a path that is nearly one of ours: it may be a field of the application's, or not."""
    if len(path) < _STEPS or path[0] not in {"request_data", "response_data"}:
        return
    if path[1] in own.INNER or path[1] == "*":
        return
    near = difflib.get_close_matches(path[1], own.INNER, n=1, cutoff=0.85)
    if near:
        logging.getLogger("affidavit").warning(
            "affidavit: redaction.fields has a rule for %s. Did you mean %s.%s?",
            ".".join(path),
            path[0],
            near[0],
        )
