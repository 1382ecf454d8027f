"""From a model file to decoded results."""
