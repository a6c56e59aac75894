"""The link to the checkout page on the server's landing page."""

import pytest
from jinja2 import DictLoader, Environment

from datalayer_stripe.jupyter.landing import add_checkout_link

PAGE = "<body>{% block site %}{% endblock %}</body>"
LINK = '<a href="/user/x/checkout?a=1&amp;b=2">Buy credits</a>'


def render(main: str) -> str:
    """Return the landing page with the link, from the template `main`."""
    templates = {"page.html": PAGE, "main.html": main}
    env = Environment(loader=DictLoader(templates), autoescape=True)
    # Put the original template in the cache, as if the page had been opened before.
    env.get_template("main.html").render()
    add_checkout_link(env, "/user/x/checkout?a=1&b=2")
    assert env.get_template("page.html").render() == "<body></body>"
    return env.get_template("main.html").render(name="Ada")


def test_link_is_added_below_content_of_landing_page() -> None:
    template = '{% extends "page.html" %}{% block site %}<h1>Of {{ name }}</h1>{% endblock %}'
    page = render(template)
    assert page.index("<h1>Of Ada</h1>") < page.index(LINK)


@pytest.mark.parametrize("template", ["All of {{ name }}.", "{% block other %}{% endblock %}"])
def test_template_without_site_block_is_unchanged(template: str) -> None:
    assert render(template).strip() == template.partition("{%")[0].replace("{{ name }}", "Ada")
