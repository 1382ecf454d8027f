"""Teach a frozen network new classes: its features, a head fitted to them, one file."""
