"""Tell the JupyterLab extension where the checkout page is.

JupyterLab passes the options in `page_config_data` to its extensions. Without the option the
extension does nothing, as on a server that does not run the server extension.

The extension's sources are in the folder `labextension` of the repository.
"""

from typing import Any

CHECKOUT_URL_OPTION = "datalayerStripeCheckoutUrl"


def set_checkout_url(settings: dict[str, Any], url: str) -> None:
    """Set the option of JupyterLab's pages.

    Args:
        settings: The settings of the server's application.
        url: The URL of the checkout page, or its path with the server's base URL.
    """
    settings.setdefault("page_config_data", {})[CHECKOUT_URL_OPTION] = url
