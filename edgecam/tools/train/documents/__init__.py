"""Rendered photographs of pages, to train and to score the document edge network."""
