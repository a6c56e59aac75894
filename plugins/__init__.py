"""The built-in event plugins, one file each, found by entry point like anyone's."""
