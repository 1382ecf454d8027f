"""The broker: where it is, how to log in, and one connection to it."""
