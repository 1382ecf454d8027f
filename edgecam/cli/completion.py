"""What a shell offers where a value of edgecam is typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from edgecam.core.errors import ModelError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Offer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem] | list[str]"]


def one_of(*values: str, or_file: bool = False) -> Offer:
    """These values, and files where none of them begins so."""

    def offer(
        ctx: click.Context, parameter: click.Parameter, typed: str
    ) -> list[CompletionItem] | list[str]:
        del ctx, parameter
        return _offered(values, typed, or_file)

    return offer


def a_model(
    ctx: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem] | list[str]:
    """The models that are here by name and alias, and files where none begins so."""
    del ctx, parameter
    from edgecam.inference import catalog as bundled

    try:
        cards = (*bundled.cards(), *bundled.cards_in(bundled.pulled_directory()))
    except ModelError:
        # A shell shows no error: of a damaged card `edgecam models` tells.
        cards = ()
    names = {name for card in cards for name in (card.name, *card.aliases)}
    return _offered(sorted(names), typed, or_file=True)


def _offered(values: Iterable[str], typed: str, or_file: bool) -> list[CompletionItem] | list[str]:
    found = [value for value in values if value.startswith(typed)]
    if found or not or_file:
        return found
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="file")]


a_file = one_of(or_file=True)
