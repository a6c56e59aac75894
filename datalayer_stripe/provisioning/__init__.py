"""Provisioning: create and change what the service needs at Stripe, and the environment file."""
