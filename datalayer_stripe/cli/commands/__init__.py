"""What the user can type: the commands, their options and their help.

Nothing here imports the service, so that `--help` and completion are fast.
"""
