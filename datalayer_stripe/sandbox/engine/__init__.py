"""State, clock, cards, charging, billing and the lifecycle of subscriptions."""
