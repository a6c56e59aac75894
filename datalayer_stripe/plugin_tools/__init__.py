"""For those who write plugins: a new package, and a check of what they have written."""
