"""Check that the service is set up correctly: its settings, Stripe, the database and events."""
