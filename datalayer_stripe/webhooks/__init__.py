"""Deliveries: receive, run plugins, commit, and run deferred work later."""
