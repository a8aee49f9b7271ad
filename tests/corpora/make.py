"""Make the two corpora from their templates: ``python -m tests.corpora.make``.

Each template is filled with fresh values several times. The blind files are written by hand by
somebody else and are never made by this.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from tests.corpora.values import Values

FOLDER: Final = Path(__file__).parent
_SLOT: Final = re.compile(r"\{\{(\w+)\}\}|\(\((\w+)\)\)")
_ROUNDS: Final = 2
SEEDS: Final = {"general": 41, "trading": 42}
_NATIONAL: Final = {
    "dni": "ES",
    "nie": "ES",
    "steuer": "DE",
    "nir": "FR",
    "codice": "IT",
    "nif": "PT",
    "nino": "UK",
    "ssn": "US",
}
_KINDS: Final = {
    "email": "email",
    "phone": "phone",
    "ip": "ip",
    "ip6": "ip",
    "card": "card",
    "iban": "iban",
    "jwt": "jwt",
    "pem": "private_key",
    "seed": "private_key",
    "wif": "private_key",
    "hexkey": "private_key",
    "keypair": "private_key",
    "password": "password",
    "passphrase": "password",
    "pin": "password",
}


def label(name: str) -> dict[str, str]:
    """Give the kind of a value by the first part of its name; any other is a key."""
    first = name.split("_", maxsplit=1)[0]
    if first in _NATIONAL:
        return {"kind": "national_id", "country": _NATIONAL[first]}
    return {"kind": _KINDS.get(first, "api_key")}


def filled(template: str, values: Values) -> tuple[str, list[dict[str, Any]]]:
    """Fill one template; return the text and its labels."""
    text, at, spans = "", 0, []
    for slot in _SLOT.finditer(template):
        text += template[at : slot.start()]
        value = values.make(slot[1] or slot[2])
        if slot[1]:
            spans.append({"start": len(text), "end": len(text) + len(value), **label(slot[1])})
        text += value
        at = slot.end()
    return text + template[at:], spans


def corpus(name: str, seed: int) -> list[dict[str, Any]]:
    """Fill all templates of one corpus."""
    values = Values(seed)
    items: list[dict[str, Any]] = []
    lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#") or not line:
            continue
        lang, template = line.split("|", 1)
        template = template.replace("\\n", "\n").replace("\\t", "\t")
        for turn in range(_ROUNDS if _SLOT.search(template) else 1):
            text, spans = filled(template, values)
            identity = f"{name[0]}-{number:03d}-{turn}"
            items.append({"id": identity, "text": text, "spans": spans, "lang": lang})
    return items


def main() -> int:
    """Write both files."""
    for name, seed in SEEDS.items():
        items = corpus(name, seed)
        lines = (json.dumps(item, ensure_ascii=False) for item in items)
        (FOLDER / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}.jsonl: {len(items)} texts, {sum(len(i['spans']) for i in items)} labels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
