"""Which part of a frame is inferred."""
