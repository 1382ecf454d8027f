"""The wire format: topics, and each message's fields, encoder and schema."""
