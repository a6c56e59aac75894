"""Run a sandbox as a process: `python -m datalayer_stripe.sandbox --port 12111`."""

import argparse
import asyncio
import signal
import sys

from .engine.errors import StripeError
from .sandbox import Sandbox

_MAX_PORT = 65_535


def main() -> None:
    """Parse the command line and run a sandbox until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m datalayer_stripe.sandbox",
        description="Run a local Stripe. Set its URL as the API base of the Stripe SDK.",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on (default: any free port)"
    )
    parser.add_argument(
        "--address", default="127.0.0.1", help="IP address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--webhook", metavar="URL", help="URL of a webhook endpoint that receives all events"
    )
    parser.add_argument(
        "--secret", metavar="whsec_…", help="signing secret of the webhook endpoint"
    )
    parser.add_argument(
        "--remote-webhooks",
        action="store_true",
        help="allow webhook endpoints on other machines (default: only on this machine)",
    )
    arguments = parser.parse_args()
    if bool(arguments.webhook) != bool(arguments.secret):
        parser.error("--webhook and --secret must be given together")
    if not 0 <= arguments.port <= _MAX_PORT:
        parser.error(f"--port must be from 0 to {_MAX_PORT}")
    sandbox = Sandbox(remote_webhooks=arguments.remote_webhooks)
    if arguments.webhook:
        try:
            sandbox.create_webhook_endpoint(arguments.webhook, arguments.secret)
        except StripeError as error:
            parser.error(str(error))
    asyncio.run(_run(sandbox, arguments.port, arguments.address))


async def _run(sandbox: Sandbox, port: int, address: str) -> None:
    try:
        await sandbox.start(port, address)
    except OSError as error:
        sys.exit(
            f"Cannot listen on {address}:{port}: {error.strerror}. "
            "Choose another --port or --address."
        )
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    sys.stdout.write(
        f"Stripe sandbox at {sandbox.url}\n"
        f"  secret key       {sandbox.secret_key}\n"
        f"  publishable key  {sandbox.publishable_key}\n"
    )
    sys.stdout.flush()
    await stopped.wait()
    await sandbox.stop()


if __name__ == "__main__":
    main()
