"""Camera pose and detection on small boards: TFLite models, MQTT out."""

__version__ = "0.1.0"
