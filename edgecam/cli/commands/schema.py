"""``edgecam schema``: the JSON schemas of what is published, and of a settings file."""

from __future__ import annotations

import click
import msgspec

from edgecam.core.printable import say_json
from edgecam.messages.schema import MESSAGES, schema

SETTINGS = "settings"


@click.command("schema")
@click.argument("message", required=False, type=click.Choice([*sorted(MESSAGES), SETTINGS]))
def command(message: str | None) -> None:
    """Print the JSON schema of the messages, of one, or of a settings file.

    Editors that know TOML schemas take the last one, which is draft 7:

    \b
    edgecam schema settings > edgecam.schema.json
    #:schema ./edgecam.schema.json      as the first line of front.toml
    """
    if message == SETTINGS:
        from edgecam.settings.json_schema import json_schema

        say_json(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2))
        return
    say_json(msgspec.json.format(msgspec.json.encode(schema(message)), indent=2))
