"""The reference of the HTTP API, written from its OpenAPI description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from affidavit.console.api import routers
from affidavit.console.api.describe import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHAPES = (
    *("Call", "Intent", "Outcome", "RateLimit", "Security", "Annotation", "Answer", "Failure"),
    *("NewExport", "NewSilence", "NewToken"),
)


def described() -> dict[str, Any]:
    """Give the description, without a service that runs."""
    app = FastAPI(title="Affidavit", version="1")
    for router in routers():
        app.include_router(router)
    return describe(app)


def http_api() -> str:
    """Write every operation, and the documents that requests consist of."""
    document = described()
    lines = [
        line
        for path, held in document["paths"].items()
        for method, operation in held.items()
        for line in _operation(method, path, operation)
    ]
    schemas = document["components"]["schemas"]
    lines += ["## Documents", ""]
    lines += [line for name in SHAPES for line in _shape(name, schemas[name])]
    return "\n".join(lines)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield ""
    roles = ", ".join(f"`{role}`" for role in operation["x-roles"])
    yield f"{operation['summary']}. For the roles {roles}."
    yield ""
    yield operation["description"].strip()
    yield ""
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | values | meaning |"
        yield "|---|---|---|---|"
        for each in parameters:
            values, what = _values(each["schema"]), _cell(each.get("description", ""))
            name = "field:<name>" if each["name"] == "fields" else each["name"]
            yield f"| `{name}` | {each['in']} | {values} | {what} |"
        yield ""
    yield "| status | meaning |"
    yield "|---|---|"
    for status, answer in sorted(operation["responses"].items()):
        yield f"| {status} | {_cell(answer['description'])} |"
    yield ""


def _shape(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{name}`"
    yield ""
    yield _cell(schema.get("description", ""))
    yield ""
    yield "| field | values | required | meaning |"
    yield "|---|---|---|---|"
    required = schema.get("required", ())
    for field, held in schema["properties"].items():
        must = "yes" if field in required else ""
        yield f"| `{field}` | {_values(held)} | {must} | {_cell(_what(held))} |"
    yield ""


def _what(schema: Mapping[str, Any]) -> str:
    parts = [schema, *schema.get("anyOf", ())]
    return next((str(part["description"]) for part in parts if "description" in part), "")


def _values(schema: Mapping[str, Any]) -> str:
    """Say in a few words what a value may be."""
    if "anyOf" in schema:
        kinds = [_values(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_values(schema.get('items', {}))}"
    kind = {"string": "text", "integer": "whole number", "object": "fields"}.get(kind, kind)
    if schema.get("format") == "date-time":
        kind = "time"
    limits = [
        f"{word} {schema[name]:,}"
        for name, word in (
            *(("minimum", "from"), ("maximum", "to"), ("maxLength", "up to")),
            *(("maxItems", "up to"),),
        )
        if name in schema and isinstance(schema[name], int | float)
    ]
    return " ".join([kind, *limits])


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
