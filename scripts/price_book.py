"""Make the price list in the package from the data of the development dependency `genai-prices`.

    python -m scripts.price_book            # writes the list, and its version and hash in NOTICE
    python -m scripts.price_book --check    # says whether both are what this version gives

The list holds what records can be priced by: tokens of every kind, searches and requests, with
their dates, daily hours, steps by input length and tiers. Hours of sound, pages, pixels and
characters are left out: no record counts them. A kind of price that this script does not know
stops it, so that a new one is looked at by a person.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import genai_prices
from genai_prices import types
from genai_prices.data import providers

from affidavit.pricing.book import FORMAT
from affidavit.pricing.load import LIST
from affidavit.pricing.rates import KINDS

NOTICE: Final = Path(__file__).parents[1] / "NOTICE"
_STATED: Final = re.compile(r"genai-prices \S+, file SHA-256\n[0-9a-f]{64}")

_NAMES: Final = {
    "output_reasoning_mtok": "reasoning",
    "web_searches_kcount": "web_searches",
    "requests_kcount": "requests",
    **{f"{kind}_mtok": kind for kind in KINDS},
}
_LEFT_OUT: Final = frozenset(
    {
        "audio_hours",
        "input_annotated_document_kpages",
        "input_audio_hours",
        "input_document_kpages",
        "input_mchars",
        "input_text_messages_kcount",
        "output_citation_mtok",
        "storage_searches_kcount",
    }
)
_TIERS: Final = {
    ("service_tier", "default"): None,  # the standard prices
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
    ("processing", "batch"): "batch",
    ("route", "mistral/eu"): None,  # a record does not say the route, nor the kind of search
    ("search_type", "fast"): None,
    ("search_type", "web"): None,
}


def rule(match: Any) -> Any:  # noqa: PLR0911 - one for each kind of rule
    """Write a rule of the library as `affidavit.pricing.matching` reads it."""
    match match:
        case types.ClauseEquals():
            return match.equals
        case types.ClauseStartsWith():
            return {"starts": match.starts_with}
        case types.ClauseEndsWith():
            return {"ends": match.ends_with}
        case types.ClauseContains():
            return {"contains": match.contains}
        case types.ClauseRegex():
            return {"regex": match.regex}
        case types.ClauseOr():
            return [rule(part) for part in match.or_]
        case types.ClauseAnd():
            return {"all": [rule(part) for part in match.and_]}
    raise unknown("rule", type(match).__name__)


def when(constraint: Any) -> Any:
    """Write when a price holds: always, from a day on, or daily between two seconds of the day."""
    match constraint:
        case None:
            return None
        case types.StartDateConstraint():
            return constraint.start_date.isoformat()
        case types.TimeOfDateConstraint():
            both = (constraint.start_time, constraint.end_time)
            if any(time.utcoffset() for time in both):
                raise unknown("time of day", str(both))
            return [time.hour * 3600 + time.minute * 60 + time.second for time in both]
    raise unknown("condition", type(constraint).__name__)


def prices(found: types.ModelPrice) -> dict[str, Any]:
    """Write the prices of one model, in the order of the kinds."""
    named: dict[str, Any] = {}
    for key, value in vars(found).items():
        if value is None or key in _LEFT_OUT:
            continue
        if key not in _NAMES:
            raise unknown("price", key)
        named[_NAMES[key]] = price(value)
    return {kind: named[kind] for kind in KINDS if kind in named}


def price(value: Any) -> Any:
    """Write an exact price, with its steps where it has any."""
    if isinstance(value, types.TieredPrices):
        return [plain(value.base), *([step.start, plain(step.price)] for step in value.tiers)]
    return plain(value)


def plain(value: Any) -> str:
    """Write a decimal without an exponent and without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tiers(model: types.ModelInfo) -> dict[str, list[Any]]:
    """Write what differs in other tiers than the standard one."""
    found: dict[str, list[Any]] = {}
    for variant in model.price_variants or []:
        if len(variant.when) != 1:
            raise unknown("tier", str(variant.when))
        (asked,) = variant.when.items()
        if asked not in _TIERS:
            raise unknown("tier", str(variant.when))
        name, changed = _TIERS[asked], prices(variant.prices)
        if name is not None and changed:
            found.setdefault(name, []).append([when(variant.constraint), changed])
    return found


def model(info: types.ModelInfo) -> list[Any]:
    """Write one model: its name, which names mean it, its prices over time, other tiers."""
    listed = info.prices if isinstance(info.prices, list) else [None]
    dated = [
        [None, prices(info.prices)]  # type: ignore[arg-type]  # one price and no list
        if each is None
        else [when(each.constraint), prices(each.prices)]
        for each in listed
    ]
    return [info.id, rule(info.match), dated, tiers(info)]


def unknown(what: str, name: str) -> ValueError:
    """Build the error for what the list has no form for."""
    return ValueError(f"A {what} that this script does not know: {name}. Decide what it means.")


def listing() -> bytes:
    """Write the whole list: one model a line, so that two versions can be compared."""
    head = {"format": FORMAT, "source": "genai-prices", "version": genai_prices.__version__}
    parts = []
    for each in providers:
        named: dict[str, Any] = {"id": each.id}
        if each.provider_match is not None:
            named["match"] = rule(each.provider_match)
        if each.fallback_model_providers:
            named["fallback"] = each.fallback_model_providers
        models = ",\n".join(_json(model(info)) for info in each.models)
        parts.append(f'{_json(named)[:-1]},"models":[\n{models}\n]}}')
    body = ",\n".join(parts)
    return f'{_json(head)[:-1]},"providers":[\n{body}\n]}}\n'.encode()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def main() -> int:
    """Write or check the list; say what it came to."""
    parser = argparse.ArgumentParser(description="Make the price list in the package.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if different")
    only_check = parser.parse_args().check
    content = listing()
    stated = f"genai-prices {genai_prices.__version__}, file SHA-256\n{sha256(content).hexdigest()}"
    notice = NOTICE.read_text("utf-8")
    renewed = _STATED.sub(stated, notice)
    if stated not in renewed:
        raise unknown("NOTICE", "it does not say what the price list was made from")
    if only_check:
        same = LIST.is_file() and LIST.read_bytes() == content and renewed == notice
        print(f"The price list is {'what' if same else 'NOT what'} {stated} gives.")
        return 0 if same else 1
    LIST.parent.mkdir(exist_ok=True)
    LIST.write_bytes(content)
    NOTICE.write_text(renewed, "utf-8")
    print(f"{LIST.name}: {len(content)} bytes, {stated}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
