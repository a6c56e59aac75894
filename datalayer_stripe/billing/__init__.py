"""Prices, customers, purchases, subscriptions and reversals."""
