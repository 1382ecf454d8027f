"""The plugin's own settings: the table ``[plugin.toy]``."""

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """``clip`` is what the source plays, ``lines`` the sink's file, ``label`` the rule's."""

    clip: str
    lines: str
    label: str = "bright"
