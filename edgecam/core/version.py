"""The version of edgecam, as the wheel has it."""

__version__ = "0.2.0"
