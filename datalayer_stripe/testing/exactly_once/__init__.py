"""Run a plugin through deliveries, faults and crashes, and compare what it has written."""
