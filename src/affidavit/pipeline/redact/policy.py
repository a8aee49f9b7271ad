"""What is done with what is found: kinds, fields, own rules, identity; and the four presets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from affidavit.errors import ConfigError
from affidavit.pipeline.redact import kinds, own

OwnFinder: TypeAlias = Callable[[str], "Iterable[tuple[int, int, str]] | str | None"]
"""An application's own function: takes a text, gives places with a kind, or the text to store."""


class Action(StrEnum):
    """What is done with one find."""

    REMOVE = "remove"
    """Only the kind stays: ``[email]``."""
    MASK = "mask"
    """The kind and an end that does not give it away: ``[card …1111]``."""
    PSEUDONYMIZE = "pseudonymize"
    """A keyed token, the same for the same value: ``<email:kfmaqpbcdrnhjgea>``."""
    KEEP = "keep"
    """It stays."""
    SEAL = "seal"
    """A placeholder, ``[sealed email 1]``; the original is encrypted to the compliance key."""


WITHHOLD: Final = "withhold"
"""For a field only: nothing of it is stored."""

ACTIONS: Final = tuple(action.value for action in Action)


class Reading(StrEnum):
    """How a shape without a word for it is taken."""

    USUAL = "usual"
    BOLD = "bold"
    """Taken for what it could be: more is removed, also some that is harmless."""
    SHY = "shy"
    """Left alone unless words or grouping say what it is: for texts full of numbers."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of rules."""

    name: str
    purpose: str
    actions: Mapping[str, Action]
    reading: Reading = Reading.USUAL
    enabled: bool = True


def _all(action: Action, **others: Action) -> dict[str, Action]:
    return dict.fromkeys(kinds.KINDS, action) | others


_MASKED: Final = {kinds.CARD: Action.MASK, kinds.IBAN: Action.MASK}

PRESETS: Final[dict[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset(
            "default",
            "Removes every kind; of cards and accounts the last four characters stay.",
            _all(Action.REMOVE, **_MASKED),
        ),
        Preset(
            "strict",
            "Removes every kind whole, takes weak shapes for what they could be (an eleven-digit "
            "number with the right check digit, each long mixed run of letters and digits).",
            _all(Action.REMOVE),
            Reading.BOLD,
        ),
        Preset(
            "trading",
            "As default, but bare numbers stay unless a word says what they are, and IP addresses "
            "stay: order ids, times, prices, ISIN, tickers and wallet addresses are not touched.",
            _all(Action.REMOVE, **_MASKED, ip=Action.KEEP),
            Reading.SHY,
        ),
        Preset("off", "Stores every text as it is.", _all(Action.KEEP), enabled=False),
    )
}


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Another treatment below one path; ``*`` stands for one step of it."""

    path: tuple[str, ...]
    actions: Mapping[str, Action]
    withhold: bool = False

    def covers(self, steps: tuple[str, ...]) -> bool:
        """Whether a path lies at or below this one."""
        return len(steps) >= len(self.path) and all(
            mine in {"*", theirs} for mine, theirs in zip(self.path, steps, strict=False)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force. Keys are never shown."""

    preset: str = "default"
    enabled: bool = True
    reading: Reading = Reading.USUAL
    actions: Mapping[str, Action] = field(default_factory=lambda: PRESETS["default"].actions)
    fields: tuple[FieldRule, ...] = ()
    patterns: tuple[tuple[str, re.Pattern[str]], ...] = ()
    finders: tuple[OwnFinder, ...] = ()
    keyed_identity: bool = False
    key: bytes | None = field(default=None, repr=False)
    seal_to: bytes | None = None

    def __post_init__(self) -> None:
        """Check that what the actions need is there."""
        used = set(self.actions.values()).union(*(rule.actions.values() for rule in self.fields))
        if self.enabled and Action.PSEUDONYMIZE in used and self.key is None:
            msg = (
                "The action 'pseudonymize' needs a key. Set redaction_key to a file with 32 bytes."
            )
            raise ConfigError(msg)
        if self.keyed_identity and self.key is None:
            msg = "identity='keyed' needs a key. Set redaction_key to a file with 32 bytes."
            raise ConfigError(msg)
        if self.enabled and Action.SEAL in used and self.seal_to is None:
            msg = (
                "The action 'seal' needs the public key to seal to. Set seal_public_key; "
                "`affidavit redact keypair` makes a pair."
            )
            raise ConfigError(msg)

    @property
    def wants_seal(self) -> bool:
        """Whether any rule seals."""
        rules = [self.actions, *(rule.actions for rule in self.fields)]
        return any(Action.SEAL in rule.values() for rule in rules)

    def action(self, kind: str, steps: tuple[str, ...]) -> Action:
        """Give the action for a kind at a path; the last rule that covers the path decides."""
        for rule in reversed(self.fields):
            if kind in rule.actions and rule.covers(steps):
                return rule.actions[kind]
        return self.actions.get(kind, Action.REMOVE)

    @classmethod
    def read(
        cls,
        rules: str | Mapping[str, Any] = "default",
        *,
        identity: str = "plain",
        key: bytes | None = None,
        seal_to: bytes | None = None,
    ) -> Policy:
        """Read a preset's name, or a mapping with ``preset``, ``kinds``, ``fields``, ``patterns``,
        ``finders``.

        Raises:
            ConfigError: a name is unknown, a pattern is malformed, or a key is missing.
        """  # noqa: D205 - the list of keys does not fit one line
        given = {"preset": rules} if isinstance(rules, str) else _table(rules, "redaction")
        preset = _known(given.pop("preset", "default"), PRESETS, "redaction preset", _TABLE)
        patterns = _patterns(given.pop("patterns", {}))
        finders = given.pop("finders", ())
        finders = (finders,) if callable(finders) else finders
        names = {name for name, _pattern in patterns}
        changed = _actions(given.pop("kinds", {}), names, "redaction.kinds")
        rules_of_fields = _table(given.pop("fields", {}), "redaction.fields")
        fields = tuple(_field_rule(path, rule, names) for path, rule in rules_of_fields.items())
        if given:
            known = "preset, kinds, fields, patterns, finders"
            msg = f"redaction does not know {', '.join(map(repr, given))}; it takes {known}."
            raise ConfigError(msg)
        if not isinstance(finders, list | tuple) or not all(map(callable, finders)):
            msg = "redaction.finders takes functions: text -> (start, end, kind), ..."
            raise ConfigError(msg)
        base = PRESETS[preset]
        active = base.enabled or bool(changed or fields or patterns or finders)
        return cls(
            preset=preset,
            enabled=active,
            reading=base.reading,
            actions={**base.actions, **changed},
            fields=fields,
            patterns=patterns,
            finders=tuple(finders),
            keyed_identity=_known(identity, ("plain", "keyed"), "identity") == "keyed",
            key=key,
            seal_to=seal_to,
        )


_TABLE: Final = " redaction also takes a table with preset, kinds, fields, patterns, finders."


def _known(value: object, known: Iterable[str], what: str, more: str = "") -> str:
    names = tuple(known)
    if isinstance(value, str) and value in names:
        return value
    msg = f"{what}: {value!r} is unknown. Use one of {', '.join(names)}.{more}"
    raise ConfigError(msg)


def _table(given: Any, where: str) -> dict[Any, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    msg = f"{where} must be a table of names and values, not {type(given).__name__}."
    raise ConfigError(msg)


def _patterns(given: Any) -> tuple[tuple[str, re.Pattern[str]], ...]:
    compiled = []
    for name, pattern in _table(given, "redaction.patterns").items():
        if (
            not isinstance(name, str)
            or not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)
            or name in kinds.KINDS
            or name in kinds.GROUPS
        ):
            msg = (
                f"redaction.patterns: {name!r} cannot name a kind. Use small letters, digits and "
                "underscores, and none of the built-in names."
            )
            raise ConfigError(msg)
        written = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        if not isinstance(written, str) or not written:
            msg = f"redaction.patterns.{name} must be a regular expression as text, and not empty."
            raise ConfigError(msg)
        try:
            compiled.append((name, re.compile(pattern)))
        except re.error as error:
            msg = f"redaction.patterns.{name} is no regular expression: {error}. Correct it."
            raise ConfigError(msg) from error
    return tuple(compiled)


def _actions(given: Any, own_names: set[str], where: str) -> dict[str, Action]:
    if isinstance(given, str):
        given = {"all": given}
    chosen: dict[str, Action] = {}
    for name, action in _table(given, where).items():
        if name in kinds.GROUPS:
            members: Iterable[str] = kinds.GROUPS[name]
        elif name in kinds.KINDS or name in own_names:
            members = (name,)
        else:
            _known(name, (*kinds.KINDS, *kinds.GROUPS, *sorted(own_names)), where)
        chosen |= dict.fromkeys(members, Action(_known(action, ACTIONS, f"{where}.{name}")))
    return chosen


def _field_rule(path: Any, rule: Any, names: set[str]) -> FieldRule:
    steps = tuple(path.split(".")) if isinstance(path, str) else ()
    top = steps[0] if steps else ""
    if top in own.UNTOUCHED:
        msg = (
            f"redaction.fields: {path!r} says who, where or what happened: that is never redacted. "
            "identity='keyed' stores user, session, conversation and address as tokens."
        )
        raise ConfigError(msg)
    if top != "*" and top not in own.TOP:
        msg = (
            f"redaction.fields: {path!r} begins with no field of a record. A path goes from the "
            "top: request_data.message, response_data.text, details.details.<yours>, error_message."
        )
        raise ConfigError(msg)
    if rule == WITHHOLD:
        return FieldRule(steps, {}, withhold=True)
    if isinstance(rule, str):
        _known(rule, (*ACTIONS, WITHHOLD), f"redaction.fields.{path}")
        every = dict.fromkeys((*kinds.KINDS, *names), Action(rule))
        return FieldRule(steps, every)
    return FieldRule(steps, _actions(rule, names, f"redaction.fields.{path}"))
