"""What somebody asked for, in the form in which the log has it or may keep it."""

from __future__ import annotations

from typing import Final

from affidavit.canonical import CONTENT
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError

_LONGEST_REASON: Final = 500


def forms_of(user: str, config: AuditConfig) -> tuple[str, ...]:
    """Give the texts under which a user can stand in ``user_id``: as given, and as a token."""
    if config.identity != "keyed" or user.startswith("keyed:"):
        return (user,)
    from affidavit.pipeline.redact import act
    from affidavit.pipeline.redact.configured import policy_of

    key = policy_of(config).key
    return (user,) if key is None else (user, act.identity(key, "user_id", user))


def reason_of(text: str | None) -> str:
    """Give a reason as it goes into the ledger, which never expires: without what rules find.

    Raises ConfigError without one, or for one over 500 characters.
    """
    said = (text or "").strip()
    if not said or len(said) > _LONGEST_REASON:
        msg = (
            "Give a reason of up to 500 characters: --reason 'request 2026-117'. It stays in the "
            "ledger for ever, so name a file or a ticket, not the person."
        )
        raise ConfigError(msg)
    from affidavit.pipeline.redact import Policy, Redactor

    cleaned, _ = Redactor(Policy.read("default")).redact_text(said)
    return cleaned


def groups_of(text: str | None) -> frozenset[str]:
    """Read a list of groups; without one, all that may hold content.

    Raises ConfigError for a name that is none.
    """
    if text is None:
        return CONTENT
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names or not names <= CONTENT:
        unknown = ", ".join(sorted(names - CONTENT)) or "nothing"
        msg = f"--groups names {unknown}. Groups are {', '.join(sorted(CONTENT))}."
        raise ConfigError(msg)
    return frozenset(names)
