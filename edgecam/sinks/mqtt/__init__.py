"""The MQTT sink."""
