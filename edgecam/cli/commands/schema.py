"""``edgecam schema``: the JSON schema of what is published."""

from __future__ import annotations

import click
import msgspec

from edgecam.core.printable import say_json
from edgecam.messages.schema import MESSAGES, schema


@click.command("schema")
@click.argument("message", required=False, type=click.Choice(sorted(MESSAGES)))
def command(message: str | None) -> None:
    """Print the JSON schema of the messages, or of one."""
    say_json(msgspec.json.format(msgspec.json.encode(schema(message)), indent=2))
