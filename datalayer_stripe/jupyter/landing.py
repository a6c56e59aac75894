"""Add a link to the checkout page to the server's landing page.

Jupyter Server offers its extensions no place on that page. The template that the server would use,
even an operator's own one, is extended, and the link is put below its content.

https://jinja.palletsprojects.com/en/stable/templates/#template-inheritance
"""

from jinja2 import ChoiceLoader, DictLoader, Environment, PrefixLoader

_LANDING_TEMPLATE = "main.html"
_ORIGINAL_PREFIX = "datalayer_stripe"

_TEMPLATE_WITH_LINK = f"""
{{% extends "{_ORIGINAL_PREFIX}/{_LANDING_TEMPLATE}" %}}
{{% block site %}}
{{{{ super() }}}}
<p class="text-center"><a href="{{{{ datalayer_stripe_checkout }}}}">Buy credits</a></p>
{{% endblock %}}
"""


def add_checkout_link(jinja2_env: Environment, path: str) -> None:
    """Add a link to the page that `jupyter server` opens.

    Args:
        jinja2_env: The template environment of the server.
        path: The path of the checkout page, with the server's base URL.
    """
    original = jinja2_env.loader
    assert original is not None  # noqa: S101 (the server's templates have a loader)
    extended = DictLoader({_LANDING_TEMPLATE: _TEMPLATE_WITH_LINK})
    jinja2_env.loader = ChoiceLoader(
        [extended, PrefixLoader({_ORIGINAL_PREFIX: original}), original]
    )
    jinja2_env.globals["datalayer_stripe_checkout"] = path
