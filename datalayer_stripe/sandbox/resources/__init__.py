"""The operations of the API, one module per Stripe resource.

Each operation is a method that takes the decoded parameters (`raw`, see `api.forms.decode`) and the
identifiers in the path (`id`). It returns the object that the API answers, and raises `StripeError`
if the API answers with an error. `routes()` of each resource assigns the operations to paths.
"""
