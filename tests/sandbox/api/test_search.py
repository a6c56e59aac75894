"""Search with Stripe's query language."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import Shop, pay

PEOPLE = (
    {"name": "Grace Hopper", "email": "grace@example.com", "metadata": {"team": "navy"}},
    {"name": 'Ada "Countess" L', "email": "ada@lovelace.example", "metadata": {"a'b": "x y"}},
    {"name": "Alan", "phone": "+44 1", "metadata": {"team": "Navy", "rank": "1"}},
)


@pytest.fixture
def people(sandbox: Sandbox) -> list[str]:
    """Return the identifiers of three customers, one second apart."""
    identifiers = []
    for person in PEOPLE:
        sandbox.clock.advance(1)
        identifiers.append(sandbox.create_customer(**person)["id"])
    return identifiers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('email:"grace@example.com"', [0]),
        ('email:"GRACE@example.com"', [0]),
        ('email:"grace"', []),
        ('email~"example"', [0, 1]),
        ("name:'Alan'", [2]),
        (r'name~"\"Countess\""', [1]),
        ('metadata["team"]:"navy"', [0, 2]),
        ('metadata["team"]:"navy" metadata["rank"]:"1"', [2]),
        ('metadata["team"]:"navy" AND -metadata["rank"]:null', [2]),
        ('metadata["team"]:null', [1]),
        ("""metadata["a'b"]:'x y'""", [1]),
        ('-email:"grace@example.com"', [1, 2]),
        ('name:"alan" OR email~"lovelace"', [1, 2]),
        ('name:"alan" or email~"lovelace" or name~"grace"', [0, 1, 2]),
        ("phone:null", [0, 1]),
        ('  name:"Alan"  ', [2]),
        ('name : "Alan"', [2]),
    ],
)
def test_query_finds_customers(
    sandbox: Sandbox, people: list[str], query: str, expected: list[int]
) -> None:
    found = sandbox.call("GET", "/v1/customers/search", query=query)
    assert [obj["id"] for obj in found["data"]] == [people[i] for i in reversed(expected)]
    assert (found["object"], found["has_more"]) == ("search_result", False)


def test_deleted_customer_is_not_found(sandbox: Sandbox, people: list[str]) -> None:
    sandbox.call("DELETE", f"/v1/customers/{people[0]}")
    found = sandbox.call("GET", "/v1/customers/search", query='-email:"nobody@example.com"')
    assert [obj["id"] for obj in found["data"]] == [people[2], people[1]]


def test_numbers_are_compared(sandbox: Sandbox, people: list[str]) -> None:
    second = sandbox.get(people[1])["created"]
    for symbol, expected in {":": [1], ">": [2], ">=": [2, 1], "<": [0], "<=": [1, 0]}.items():
        found = sandbox.call("GET", "/v1/customers/search", query=f"created{symbol}{second}")
        assert [obj["id"] for obj in found["data"]] == [people[i] for i in expected]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "empty string"),
        ("grace", "unable to parse"),
        ('email:"grace', "unable to parse"),
        ('email:"a@b.example"name:"x"', "unable to parse"),
        ('email:"a@b.example" AND', "unable to parse"),
        ('(email:"a@b.example")', "unable to parse"),
        ("email:grace", "must be in quotation marks"),
        ('shoe_size:"40"', "`shoe_size` is an unsupported search field"),
        ('metadata:"x"', "`metadata` is an unsupported search field"),
        ('name["x"]:"y"', "`name` is an unsupported search field"),
        ('email>"a"', "does not support the operator `>`"),
        ('metadata["team"]~"navy"', "does not support the operator `~`"),
        ("created~100", "does not support the operator `~`"),
        ('created>"yesterday"', "needs a number"),
        ('email~"ab"', "at least 3 characters"),
        ('name:"a" AND name:"b" OR name:"c"', "cannot combine AND and OR"),
        ('name:"a" name:"b" OR name:"c"', "cannot combine AND and OR"),
    ],
)
def test_invalid_query_is_refused(sandbox: Sandbox, query: str, message: str) -> None:
    with pytest.raises(StripeError, match=message) as caught:
        sandbox.call("GET", "/v1/customers/search", query=query)
    assert (caught.value.status, caught.value.error["param"]) == (400, "query")


@pytest.mark.gen_test
async def test_pages_are_followed_while_customers_are_created(
    sandbox: Sandbox, client: stripe.StripeClient, people: list[str]
) -> None:
    params = {"query": "created>0", "limit": 2, "expand": ["total_count"]}
    first = await client.v1.customers.search_async(params)
    assert (len(first.data), first.has_more, first.total_count) == (2, True, 3)
    sandbox.create_customer(name="Newer")
    second = await client.v1.customers.search_async({**params, "page": first.next_page})
    assert [obj.id for obj in first.data + second.data] == list(reversed(people))
    assert (second.has_more, second.next_page) == (False, None)
    everyone = await client.v1.customers.search_async({"query": "created>0", "limit": 1})
    assert len([obj async for obj in everyone.auto_paging_iter()]) == 4
    for wrong in ({"page": "x"}, {"page": "cus_none"}, {"limit": 0}):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await client.v1.customers.search_async({**params, **wrong})
        assert caught.value.param in wrong


@pytest.mark.gen_test
async def test_each_searchable_resource_is_searched(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    paid = sandbox.get(pay(sandbox))
    sandbox.update_price(shop.price, lookup_key="fifty", metadata={"kind": "package"})
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
    )
    v1 = client.v1
    invoice = subscription["latest_invoice"]
    for resource, query, expected in (
        (v1.products, 'active:"true" AND name~"month"', shop.plan),
        (v1.prices, f'product:"{shop.product}" AND lookup_key:"fifty"', shop.price),
        (v1.prices, 'active:"true" AND type:"recurring"', shop.monthly),
        (v1.payment_intents, 'status:"succeeded" AND amount:500', paid["id"]),
        (v1.charges, 'payment_method_details.card.last4:"4242"', paid["latest_charge"]),
        (v1.charges, 'refunded:"false" AND disputed:"false"', paid["latest_charge"]),
        (v1.subscriptions, 'status:"incomplete"', subscription["id"]),
        (v1.invoices, f'subscription:"{subscription["id"]}" AND total>1000', invoice),
    ):
        found = await resource.search_async({"query": query})
        assert [obj.id for obj in found.data] == [expected], query
    by_owner = {"query": f'customer:"{shop.customer}"', "expand": ["data.customer"]}
    (invoiced,) = (await v1.payment_intents.search_async(by_owner)).data
    assert invoiced.customer.name == "Ada"
