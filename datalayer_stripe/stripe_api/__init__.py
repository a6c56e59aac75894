"""Stripe's API: the client, its errors, and readers of Stripe's objects."""
