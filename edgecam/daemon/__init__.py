"""The long-running process: how a run is built, watched, controlled and stopped."""
