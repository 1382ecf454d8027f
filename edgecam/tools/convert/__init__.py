"""Published models to TFLite: imported by nothing but the command line."""
