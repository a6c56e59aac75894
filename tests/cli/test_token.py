"""`datalayer-stripe token`, as an operator runs it."""

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
from tests.support.app import JWT_SECRET, Api, json_of
from tests.support.command import complete, run_command
from tests.support.shop import Shop


@pytest.mark.gen_test
async def test_token_signs_in_at_a_service_with_the_same_variables(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    code, printed, said = await run_command(
        "token", "alice", "--handle", "Alice", "--email", "alice@example.com", variables=variables
    )
    assert (code, said) == (0, "")
    bearer = {"Authorization": f"Bearer {printed.strip()}"}
    answer = await api.request("GET", "/api/iam/v1/usage/credits", headers=bearer)
    assert (answer.code, json_of(answer)["success"]) == (200, True)
    claims = jwt.decode(printed.strip(), JWT_SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert claims["user"] == {"handle": "Alice", "email": "alice@example.com"}
    assert claims["exp"] - claims["iat"] == 12 * 3600


@pytest.mark.gen_test
async def test_live_key_is_refused(sandbox: Sandbox, shop: Shop) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    live = {
        "DATALAYER_STRIPE_API_KEY": f"sk_live_{'4' * 24}",
        "DATALAYER_STRIPE_JS_API_KEY": f"pk_live_{'4' * 24}",
    }
    del variables["DATALAYER_STRIPE_API_BASE"]
    code, printed, said = await run_command("token", "alice", variables={**variables, **live})
    assert (code, printed) == (2, "")
    assert said.startswith("DATALAYER_STRIPE_API_KEY is a live key: ")


@pytest.mark.parametrize("account", ["", "two words", "a" * 129, "Zoë"])
@pytest.mark.gen_test
async def test_account_that_no_service_accepts_is_refused(
    account: str, sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete("mongodb://127.0.0.1/unused", sandbox, shop)
    code, printed, said = await run_command("token", account, variables=variables)
    assert (code, printed) == (2, "")
    assert said.startswith("ACCOUNT: ")


def test_missing_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields.values():
        monkeypatch.delenv(str(name.validation_alias), raising=False)
    answer = CliRunner().invoke(main, ["token", "alice"])
    assert answer.exit_code == 2
    assert "DATALAYER_JWT_SECRET: " in answer.output


def test_token_key_is_the_one_that_the_page_reads() -> None:
    script = Path(datalayer_stripe.__file__).with_name("web") / "session.js"
    assert f'const KEY = "{TOKEN_KEY}";' in script.read_text(encoding="utf-8")


def test_issuer_is_one_that_the_service_accepts(settings: Settings) -> None:
    others = settings.model_copy(update={"jwt_allowed_issuers": ("https://id.example.com",)})
    issued = issue_token(others, "alice", lifetime=timedelta(hours=1))
    tokens = BearerTokens(others.jwt_secret, others.jwt_algorithm, others.accepted_issuers)
    assert tokens.authenticate(f"Bearer {issued}").account_uid == "alice"
