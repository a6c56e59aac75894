"""Stripe: the only client of its API, its errors, and readers of its objects."""
