"""A link to the checkout page on the server's own first page.

Jupyter Server has no place for its extensions there. Whatever template its first page is of, also
an operator's own, it is rendered as ever, and has the link below.

jinja.palletsprojects.com/en/stable/templates/#template-inheritance
"""

from jinja2 import ChoiceLoader, DictLoader, Environment, PrefixLoader

_FIRST_PAGE = "main.html"
_WITHOUT_LINK = "datalayer_stripe"

_WITH_LINK = f"""
{{% extends "{_WITHOUT_LINK}/{_FIRST_PAGE}" %}}
{{% block site %}}
{{{{ super() }}}}
<p class="text-center"><a href="{{{{ datalayer_stripe_checkout }}}}">Buy credits</a></p>
{{% endblock %}}
"""


def link_from_first_page(jinja2_env: Environment, url: str) -> None:
    """Let the page that `jupyter server` opens lead to the checkout page, at this URL path."""
    theirs = jinja2_env.loader
    assert theirs is not None  # noqa: S101 (the server's templates come from somewhere)
    ours = DictLoader({_FIRST_PAGE: _WITH_LINK})
    jinja2_env.loader = ChoiceLoader([ours, PrefixLoader({_WITHOUT_LINK: theirs}), theirs])
    jinja2_env.globals["datalayer_stripe_checkout"] = url
