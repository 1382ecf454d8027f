"""The live page: who may see it, what it streams, and the files that make it."""
