"""Reading the rules: presets, groups, and errors that say what to do."""

from __future__ import annotations

from typing import Any

import pytest

from affidavit.errors import ConfigError
from affidavit.pipeline.redact import PRESETS, Action, Policy
from affidavit.pipeline.redact.kinds import GROUPS, KINDS, SECRETS

pytestmark = pytest.mark.requirement("R21", "R6")

KEY = b"k" * 32


def test_each_preset_decides_about_each_kind() -> None:
    """No kind is forgotten."""
    for preset in PRESETS.values():
        assert preset.actions.keys() == KINDS.keys()
        assert preset.purpose


def test_secrets_are_removed_unless_redaction_is_off() -> None:
    """No preset masks or keeps them."""
    for name in ("default", "strict", "trading"):
        assert {PRESETS[name].actions[kind] for kind in SECRETS} == {Action.REMOVE}


def test_groups_set_several_kinds_at_once() -> None:
    """Later entries override earlier ones."""
    policy = Policy.read(
        {"kinds": {"all": "remove", "personal": "pseudonymize", "ip": "keep"}}, key=KEY
    )
    assert policy.action("email", ()) is Action.PSEUDONYMIZE
    assert policy.action("ip", ()) is Action.KEEP
    assert policy.action("jwt", ()) is Action.REMOVE
    assert set(GROUPS["all"]) == set(KINDS)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("defualt", "default"),
        ({"preset": "none"}, "strict"),
        ({"kind": {}}, "kinds"),
        ({"kinds": {"e-mail": "remove"}}, "email"),
        ({"kinds": {"email": "delete"}}, "remove"),
        ({"fields": {"details.b": "hide"}}, "withhold"),
        ({"fields": {"details.b": {"email": "withhold"}}}, "remove"),
        ({"patterns": {"Bad Name": "x"}}, "small letters"),
        ({"patterns": {"email": "x"}}, "built-in"),
        ({"patterns": {"staff": "(["}}, "regular expression"),
        ({"patterns": {"staff": ""}}, "not empty"),
        ({"patterns": {"staff": b"a"}}, "as text"),
        ({"patterns": {"staff": 5}}, "as text"),
        ({"patterns": {5: "a"}}, "small letters"),
        ({"patterns": ["a"]}, "table"),
        ({"kinds": ["email"]}, "table"),
        ({"kinds": 5}, "table"),
        ({"fields": "withhold"}, "table"),
        ({"fields": {"details": 5}}, "table"),
        ({"finders": 5}, "functions"),
        ({"finders": "abc"}, "functions"),
        (5, "table"),
        ("foo", "table"),
        ({"fields": {"user_id": "withhold"}}, "keyed"),
        ({"fields": {"client_info.user_agent": "withhold"}}, "never redacted"),
        ({"fields": {"requestdata.message": "withhold"}}, "from the top"),
        ({"finders": ["not a function"]}, "functions"),
        ({"kinds": {"email": "pseudonymize"}}, "redaction_key"),
        ({"kinds": {"email": "seal"}}, "seal_public_key"),
        ({"fields": {"details": "seal"}}, "seal_public_key"),
    ],
)
def test_wrong_rules_are_refused_with_the_remedy(rules: Any, says: str) -> None:
    """The text names what would be right."""
    with pytest.raises(ConfigError, match=says):
        Policy.read(rules)


def test_keyed_identity_needs_a_key() -> None:
    """And an unknown word for it is refused."""
    with pytest.raises(ConfigError, match="redaction_key"):
        Policy.read("default", identity="keyed")
    with pytest.raises(ConfigError, match="plain, keyed"):
        Policy.read("default", identity="hashed")


def test_keys_are_never_shown() -> None:
    """Not by repr, which ends in logs."""
    policy = Policy.read("default", key=b"very-secret-key-of-the-application")
    assert "very-secret" not in repr(policy)


def test_off_with_rules_of_its_own_is_on() -> None:
    """A preset is a base; what is added to it holds."""
    assert not Policy.read("off").enabled
    assert Policy.read({"preset": "off", "kinds": {"secrets": "remove"}}).enabled
