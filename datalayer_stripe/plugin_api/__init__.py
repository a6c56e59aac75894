"""What plugins are and what they are given: definition, context, registry, settings, hooks."""
