"""Database commands as lines an administrator can paste into mongosh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def command_line(database: str, command: Mapping[str, Any]) -> str:
    """Write a command as ``db.getSiblingDB("name").runCommand({…})``."""
    return f"db.getSiblingDB({json.dumps(database)}).runCommand({literal(command)})"


def literal(value: Any) -> str:
    """Write a value as mongosh reads it."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)}: {literal(item)}" for key, item in value.items())
        return "{" + inner + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, datetime):
        return f'ISODate("{value.isoformat()}")'
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    plain = name.isidentifier() or (name.startswith("$") and name[1:].isidentifier())
    return name if plain else json.dumps(name)
