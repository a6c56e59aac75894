"""The service as an extension of a Jupyter Server.

`jupyter_server` is an optional dependency, so this module does not import it until it is needed.

https://jupyter-server.readthedocs.io/en/stable/developers/extensions.html
"""

import sys


def main() -> None:
    """Run `jupyter datalayer-stripe`: start a Jupyter Server that opens the checkout page."""
    try:
        from .extension import DatalayerStripe  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        sys.exit(f'{error}. Install the extra: pip install "datalayer-stripe[jupyter]"')
    DatalayerStripe.launch_instance()  # type: ignore[no-untyped-call]
