"""The command `token`."""

from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

import datalayer_stripe
from datalayer_stripe.auth import BearerTokens, issue_token
from datalayer_stripe.cli.main import main
from datalayer_stripe.cli.token import TOKEN_KEY
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.settings import Settings
from tests.support.app import ADMIN_ROLE, JWT_SECRET, Api, json_of
from tests.support.command import complete, run_command
from tests.support.shop import Shop


@pytest.mark.gen_test
async def test_service_with_the_same_variables_accepts_the_token(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    code, out, err = await run_command(
        "token", "alice", "--handle", "Alice", "--email", "alice@example.com", variables=variables
    )
    assert (code, err) == (0, "")
    bearer = {"Authorization": f"Bearer {out.strip()}"}
    answer = await api.request("GET", "/api/iam/v1/usage/credits", headers=bearer)
    assert (answer.code, json_of(answer)["success"]) == (200, True)
    claims = jwt.decode(out.strip(), JWT_SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert claims["user"] == {"handle": "Alice", "email": "alice@example.com"}
    assert claims["exp"] - claims["iat"] == 12 * 3600


@pytest.mark.gen_test
async def test_token_with_role_is_that_of_an_operator(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    for options, status in (
        ((), 403),
        (("--role", "platform_member", "--role", ADMIN_ROLE), 200),
    ):
        _, out, _ = await run_command("token", "op", *options, variables=variables)
        bearer = {"Authorization": f"Bearer {out.strip()}"}
        answer = await api.request("GET", "/api/iam/stripe/v1/admin/overview", headers=bearer)
        assert answer.code == status


@pytest.mark.gen_test
async def test_command_refuses_a_live_key(sandbox: Sandbox, shop: Shop) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    live = {
        "DATALAYER_STRIPE_API_KEY": f"sk_live_{'4' * 24}",
        "DATALAYER_STRIPE_JS_API_KEY": f"pk_live_{'4' * 24}",
    }
    del variables["DATALAYER_STRIPE_API_BASE"]
    code, out, err = await run_command("token", "alice", variables={**variables, **live})
    assert (code, out) == (2, "")
    assert err.startswith("DATALAYER_STRIPE_API_KEY is a live key: ")


@pytest.mark.parametrize("account", ["", "two words", "a" * 129, "Zoë"])
@pytest.mark.gen_test
async def test_command_refuses_an_invalid_account(
    account: str, sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    code, out, err = await run_command("token", account, variables=variables)
    assert (code, out) == (2, "")
    assert err.startswith("ACCOUNT: ")


def test_command_names_missing_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields.values():
        monkeypatch.delenv(str(name.validation_alias), raising=False)
    answer = CliRunner().invoke(main, ["token", "alice"])
    assert answer.exit_code == 2
    assert "DATALAYER_JWT_SECRET: " in answer.output


def test_hint_has_the_key_that_the_checkout_page_reads() -> None:
    script = Path(datalayer_stripe.__file__).with_name("web") / "session.js"
    assert f'const KEY = "{TOKEN_KEY}";' in script.read_text(encoding="utf-8")


def test_token_has_an_accepted_issuer(settings: Settings) -> None:
    others = settings.model_copy(update={"jwt_allowed_issuers": ("https://id.example.com",)})
    issued = issue_token(others, "alice", lifetime=timedelta(hours=1))
    tokens = BearerTokens(others.jwt_secret, others.jwt_algorithm, others.accepted_issuers)
    assert tokens.authenticate(f"Bearer {issued}").account_uid == "alice"
