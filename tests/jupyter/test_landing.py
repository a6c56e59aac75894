"""The link on the server's first page, whatever template that is of."""

import pytest
from jinja2 import DictLoader, Environment

from datalayer_stripe.jupyter.landing import add_checkout_link

PAGE = "<body>{% block site %}{% endblock %}</body>"
LINK = '<a href="/user/x/checkout?a=1&amp;b=2">Buy credits</a>'


def rendered(main: str) -> str:
    templates = {"page.html": PAGE, "main.html": main}
    env = Environment(loader=DictLoader(templates), autoescape=True)
    # As where it has been shown before.
    env.get_template("main.html").render()
    add_checkout_link(env, "/user/x/checkout?a=1&b=2")
    assert env.get_template("page.html").render() == "<body></body>"
    return env.get_template("main.html").render(name="Ada")


def test_what_was_there_stays_there() -> None:
    theirs = '{% extends "page.html" %}{% block site %}<h1>Of {{ name }}</h1>{% endblock %}'
    page = rendered(theirs)
    assert page.index("<h1>Of Ada</h1>") < page.index(LINK)


@pytest.mark.parametrize("theirs", ["All of {{ name }}.", "{% block other %}{% endblock %}"])
def test_a_page_without_a_place_for_it_is_as_it_was(theirs: str) -> None:
    assert rendered(theirs).strip() == theirs.partition("{%")[0].replace("{{ name }}", "Ada")
