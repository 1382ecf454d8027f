"""A plugin that cannot be loaded."""

raise RuntimeError("no such luck\nin two lines \x1b[31m")
