"""Complete Stripe objects of API version 2026-08-26.dahlia, as they are when created."""
