"""The prefix of usernames in the uids of accounts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_server.auth.identity import PasswordIdentityProvider, User

from datalayer_stripe.errors import Forbidden
from datalayer_stripe.jupyter.users import identity_of, usernames_may_match_tokens
from datalayer_stripe.models import Identity
from datalayer_stripe.settings import Settings
from tests.jupyter.conftest import Stripe
from tests.jupyter.test_auth import bearer
from tests.support.jupyter import TOKEN, JupyterServer

PREFIX = "DATALAYER_STRIPE_JUPYTER_USERNAME_PREFIX"


class NamedIdentityProvider(PasswordIdentityProvider):
    """Provider whose users have stable names."""


def account(username: str, prefix: str) -> Identity:
    return identity_of(User(username), NamedIdentityProvider(), livemode=True, prefix=prefix)


def test_prefix_separates_usernames_from_token_subjects() -> None:
    username = "01JCZ3W8Q6T5N4M2K1H0G9F8E7"
    assert account(username, "").account_uid == username
    identity = account(username, "jupyter:")
    assert identity.account_uid == f"jupyter:{username}"
    assert identity.handle == username, "the displayed name has no prefix"


def test_prefix_counts_towards_uid_length() -> None:
    assert account("a" * 128, "").account_uid == "a" * 128
    with pytest.raises(Forbidden):
        account("a" * 128, "j:")


def test_usernames_may_match_tokens_only_with_secret_and_without_prefix(settings: Settings) -> None:
    assert usernames_may_match_tokens(settings)
    assert not usernames_may_match_tokens(settings.model_copy(update={"jwt_secret": None}))
    assert not usernames_may_match_tokens(
        settings.model_copy(update={"stripe_jupyter_username_prefix": "jupyter:"})
    )


@pytest.fixture(scope="module")
def prefixed(stripe: Stripe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Start a server with a prefix."""
    variables = {**stripe.variables(), PREFIX: "jupyter:"}
    with JupyterServer(tmp_path_factory.mktemp("jupyter"), variables, "") as server:
        yield server.wait_until_open()


def test_server_warns_if_usernames_may_match_tokens(stripe: Stripe, tmp_path: Path) -> None:
    with JupyterServer(tmp_path, {**stripe.variables(), PREFIX: ""}, "") as server:
        server.wait_until_open()
        assert PREFIX in server.log


def test_server_with_prefix_uses_it_and_does_not_warn(prefixed: JupyterServer) -> None:
    answer = prefixed.get("/api/iam/v1/subscription", token=TOKEN)
    assert answer.json["account_uid"].startswith("jupyter:")
    assert PREFIX not in prefixed.log


def test_datalayer_token_cannot_name_user_of_server(prefixed: JupyterServer) -> None:
    path = "/api/iam/v1/usage/credits"
    assert prefixed.get(path, headers=bearer("jupyter:ada")).status == 401
    assert prefixed.get(path, headers=bearer("ada")).status == 200
