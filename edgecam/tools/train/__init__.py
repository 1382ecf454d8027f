"""Networks that edgecam builds and trains."""
