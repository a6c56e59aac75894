"""A Django project with dj-stripe alone: settings, URLs and the WSGI application."""

import os
from urllib.parse import urlsplit

import django
import stripe
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

_DATABASE = urlsplit(os.environ["DATABASE_URL"])

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _DATABASE.path.lstrip("/"),
            "USER": _DATABASE.username,
            "HOST": _DATABASE.hostname,
            "PORT": _DATABASE.port,
            "CONN_MAX_AGE": None,  # The worker keeps its connection.
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djstripe"],
    ROOT_URLCONF="project",
    SECRET_KEY="benchmark",
    STRIPE_LIVE_MODE=False,
    STRIPE_TEST_SECRET_KEY="sk_test_benchmarkBenchmarkBenchmark",
    USE_TZ=True,
)
stripe.api_base = os.environ["STRIPE_API_BASE"]
django.setup()

urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
application = get_wsgi_application()
