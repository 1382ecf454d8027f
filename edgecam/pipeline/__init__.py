"""The threads that carry a frame from a source to the sinks, and which part of it is inferred."""
