"""Every setting: its type, bounds and description, and how file, environment and flags meet."""
