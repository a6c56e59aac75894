"""Usernames of a Jupyter Server as uids of accounts."""

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


class Named(PasswordIdentityProvider):
    """A provider that knows people by name."""


def account(username: str, prefix: str) -> Identity:
    return identity_of(User(username), Named(), livemode=True, prefix=prefix)


def test_prefix_keeps_a_username_from_being_another_account() -> None:
    username = "01JCZ3W8Q6T5N4M2K1H0G9F8E7"
    assert account(username, "").account_uid == username
    identity = account(username, "jupyter:")
    assert identity.account_uid == f"jupyter:{username}"
    assert identity.handle == username, "people see their own name"


def test_prefix_counts_towards_the_length_of_a_uid() -> None:
    assert account("a" * 128, "").account_uid == "a" * 128
    with pytest.raises(Forbidden):
        account("a" * 128, "j:")


def test_names_are_shared_only_with_a_secret_and_without_a_prefix(settings: Settings) -> None:
    assert usernames_may_match_tokens(settings)
    assert not usernames_may_match_tokens(settings.model_copy(update={"jwt_secret": None}))
    assert not usernames_may_match_tokens(
        settings.model_copy(update={"stripe_jupyter_username_prefix": "jupyter:"})
    )


@pytest.mark.parametrize("prefix", ["", "jupyter:"])
def test_server_warns_while_names_are_shared(stripe: Stripe, tmp_path: Path, prefix: str) -> None:
    variables = {**stripe.variables(), PREFIX: prefix}
    with JupyterServer(tmp_path, variables, "") as server:
        server.wait_until_open()
        answer = server.get("/api/iam/v1/subscription", token=TOKEN)
        assert answer.json["account_uid"].startswith(prefix)
        assert (PREFIX in server.log) == (not prefix)


def test_datalayer_token_cannot_name_a_user_of_the_server(stripe: Stripe, tmp_path: Path) -> None:
    with JupyterServer(tmp_path, {**stripe.variables(), PREFIX: "jupyter:"}, "") as server:
        server.wait_until_open()
        path = "/api/iam/v1/usage/credits"
        assert server.get(path, headers=bearer("jupyter:ada")).status == 401
        assert server.get(path, headers=bearer("ada")).status == 200
