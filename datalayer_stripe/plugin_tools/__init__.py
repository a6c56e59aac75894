"""Tools for plugin authors: create a package, and check a plugin."""
