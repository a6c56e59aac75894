"""The built-in event plugins, one file per event. The service finds them by entry point."""
