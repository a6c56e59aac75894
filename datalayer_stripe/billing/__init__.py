"""The domain: prices, customers, subscriptions, eligibility and top-ups."""
