"""Create the tables, and store what the events refer to, so that dj-stripe need not fetch it.

Usage: python seed.py ACCOUNTS, with the environment of `project.py`. Print the webhook's path.
"""

import os
import sys

import project  # noqa: F401 (it configures Django)
from django.core.management import call_command
from djstripe import models

ACCOUNTS = int(sys.argv[1])

call_command("migrate", verbosity=0)
account = models.Account.objects.create(id="acct_benchmark", livemode=False)
models.APIKey.objects.create(
    secret="sk_test_benchmarkBenchmarkBenchmark",
    type="secret",
    livemode=False,
    djstripe_owner_account=account,
)
models.Customer.objects.bulk_create(
    models.Customer(id=f"cus_benchmark{number:06}", livemode=False, djstripe_owner_account=account)
    for number in range(ACCOUNTS)
)
models.PaymentMethod.objects.create(
    id=os.environ["PAYMENT_METHOD"], livemode=False, djstripe_owner_account=account
)
endpoint = models.WebhookEndpoint.objects.create(
    id="we_benchmark",
    enabled_events=["*"],
    secret=os.environ["WEBHOOK_SECRET"],
    livemode=False,
    djstripe_owner_account=account,
)
print(f"/stripe/webhook/{endpoint.djstripe_uuid}/")
