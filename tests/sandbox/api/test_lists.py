"""Pagination of lists."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox


@pytest.mark.gen_test
async def test_list_is_paginated_and_filtered_by_creation_time(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    customer_ids = []
    for index in range(25):
        customer_ids.append(sandbox.create_customer(name=str(index))["id"])
        sandbox.clock.advance(60)
    newest_first = customer_ids[::-1]
    customers = client.v1.customers
    first = await customers.list_async()
    assert [customer.id for customer in first.data] == newest_first[:10]
    assert first.has_more
    assert [customer.id async for customer in first.auto_paging_iter()] == newest_first
    back = await customers.list_async({"ending_before": newest_first[10], "limit": 4})
    assert [customer.id for customer in back.data] == newest_first[6:10]
    assert back.has_more
    middle = sandbox.get(customer_ids[12])["created"]
    for operator, expected in (("gt", 12), ("gte", 13), ("lt", 12), ("lte", 13)):
        page = await customers.list_async({"created": {operator: middle}, "limit": 100})
        assert len(page.data) == expected, operator
    exact = await customers.list_async({"created": middle})
    assert [customer.id for customer in exact.data] == [customer_ids[12]]
