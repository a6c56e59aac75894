"""Complete Stripe objects of API version 2026-10-28.endive, as they are when created.

The functions share these arguments: first the new object's identifier, such as `pi_…`; amounts in
the currency's minor unit; currencies as three letters in lower case; `now` in epoch seconds.
"""
