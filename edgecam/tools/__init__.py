"""Not needed to run."""
