"""The service within a Jupyter Server.

Nothing here imports jupyter_server until it is needed, since it is an extra.

jupyter-server.readthedocs.io/en/stable/developers/extensions.html
"""

import sys


def main() -> None:
    """`jupyter datalayer-stripe`: a server whose first page is the checkout page."""
    try:
        from .extension import DatalayerStripe  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        sys.exit(f'{error}. It needs an extra: pip install "datalayer-stripe[jupyter]"')
    DatalayerStripe.launch_instance()  # type: ignore[no-untyped-call]
