"""Threads from source to sinks."""
