"""Connect to MongoDB with the driver of this test run.

`DATALAYER_STRIPE_TEST_MONGODB_DRIVER` chooses it; the default is that of the service.
"""

import os
from functools import partial
from typing import Any, cast

from datalayer_stripe import store
from datalayer_stripe.settings import DriverName
from datalayer_stripe.store.connect import DRIVERS

DRIVER = cast("DriverName", os.environ.get("DATALAYER_STRIPE_TEST_MONGODB_DRIVER") or "motor")

connect = partial(store.connect, driver=DRIVER)
"""`datalayer_stripe.store.connect` with the driver of this test run."""


def raw_client(url: str, **options: Any) -> Any:
    """Return the driver's own client. It belongs to the running event loop."""
    return DRIVERS[DRIVER].client(url, **options)
