"""``affidavit config``: every setting, its value, where it comes from and what it does here."""

from __future__ import annotations

from affidavit.cli import _common as common


def config(collection: common.Collection = None, json: common.Json = False) -> None:
    """Show the settings in force for this directory and environment."""
    from affidavit.cli import _output as output
    from affidavit.config import SETTINGS, mongodb_uri, without_password
    from affidavit.console.settings import TABLE, load, shown

    held = common.settings(collection)
    values = held.public()
    uri = mongodb_uri()
    address = without_password(uri) if uri else None
    service = shown(load())
    if json:
        output.as_json(
            {
                "mongodb_uri": address,
                "mode": held.mode,
                "settings": [
                    {
                        "name": name,
                        "value": values[name],
                        "source": held.source(name),
                        "default": setting.default,
                        "effect": setting.effect,
                    }
                    for name, setting in SETTINGS.items()
                ],
                TABLE: [
                    {
                        "name": name,
                        "value": value,
                        "source": source,
                        "default": setting.default,
                        "effect": setting.effect,
                    }
                    for name, value, source, setting in service
                ],
            }
        )
        return
    output.say(f"mongodb_uri: {address or 'not set (AFFIDAVIT_MONGODB_URI)'}")
    output.say(f"mode: {held.mode}")
    rows = [
        (name, output.cell(values[name]), held.source(name), setting.effect)
        for name, setting in SETTINGS.items()
    ]
    rows += [
        (f"{TABLE}.{name}", output.cell(value), source, setting.effect)
        for name, value, source, setting in service
    ]
    output.table(
        ("setting", "value", "from", "what it does here"),
        rows,
        wrapped=("value", "from", "what it does here"),
    )
