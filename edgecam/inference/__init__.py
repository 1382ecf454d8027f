"""From a model file to decoded results: runtimes, delegates and the model families."""
