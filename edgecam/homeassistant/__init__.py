"""Home Assistant: MQTT discovery, its birth message, and removal."""
