"""What operators see and do: on their page, through its routes, and by commands."""
