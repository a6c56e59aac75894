"""Run a plugin through duplicates, orders, faults and crashes, and compare the final states."""
