"""Compare with Stripe: reconcile missed events, audit the ledger, repair what differs."""
