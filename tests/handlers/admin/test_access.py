"""Who may call the operator's routes: tokens with the role in `user.roles`, and nobody else."""

import re
from typing import Any

import pytest

from datalayer_stripe.handlers.admin import admin_handlers
from datalayer_stripe.handlers.methods import implements
from datalayer_stripe.settings import Settings
from tests.support.app import ACCOUNT, ADMIN_ROLE, OPERATOR, Api, json_of

ADMIN = "/api/iam/stripe/v1/admin"

EVENT = "evt_1"

# The routes of data: the page itself has none, and needs no token.
ROUTES = [
    (method, re.sub(r"\(\?P<id>(evt_)?[^)]*\)", lambda id: EVENT if id[1] else ACCOUNT, pattern))
    for pattern, handler, *_ in admin_handlers(ADMIN_ROLE)
    for method in ("GET", "POST")
    if implements(handler, method) and pattern.startswith(f"{ADMIN}/") and ".js" not in pattern
]

# Claims of tokens that are valid and do not have the role.
WITHOUT_ROLE: list[dict[str, Any]] = [
    {},
    {"user": {}},
    {"user": {"roles": []}},
    {"user": {"roles": ["platform_member"]}},
    {"user": {"roles": ADMIN_ROLE}},
    {"user": {"roles": f"x {ADMIN_ROLE}"}},
    {"user": {"roles": {ADMIN_ROLE: True}}},
    {"user": {"roles": [ADMIN_ROLE.upper()]}},
    {"user": {"roles": [f"{ADMIN_ROLE} "]}},
    {"user": {"roles": [[ADMIN_ROLE]]}},
    {"user": {"roles": [ADMIN_ROLE, 1]}},
    {"user": {"roles_ss": [ADMIN_ROLE]}},
    {"user": [ADMIN_ROLE]},
    {"roles": [ADMIN_ROLE]},
    {"role": ADMIN_ROLE},
]

WITH_ROLE: dict[str, Any] = {"user": {"roles": ["platform_member", ADMIN_ROLE]}}

# Claims of tokens with the role that are not valid.
NOT_VALID: list[dict[str, Any]] = [
    {**WITH_ROLE, "iss": "https://id.example.com"},
    {**WITH_ROLE, "exp": 1_000_000_000},
    {**WITH_ROLE, "exp": None},
    {**WITH_ROLE, "secret": "another-secret-that-is-long-enough-0123456789"},
]


async def send(api: Api, method: str, path: str, account: str | None, **claims: Any) -> Any:
    if method == "GET":
        return await api.get(path, account, **claims)
    return await api.post(path, {}, account, **claims)


def test_all_routes_are_tried() -> None:
    assert len(ROUTES) >= 8


@pytest.mark.gen_test
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_token_with_role_is_let_in(api: Api, method: str, path: str) -> None:
    assert (await send(api, method, path, None)).code == 401
    for claims in NOT_VALID:
        answer = await send(api, method, path, OPERATOR, **claims)
        assert (answer.code, json_of(answer)["code"]) == (401, "unauthorized"), claims
    for claims in WITHOUT_ROLE:
        answer = await send(api, method, path, OPERATOR, **claims)
        assert (answer.code, json_of(answer)["code"]) == (403, "forbidden"), claims
        assert ADMIN_ROLE not in answer.body.decode(), "only operators know the role"
    assert (await send(api, method, path, OPERATOR, **WITH_ROLE)).code not in (401, 403, 405, 500)


@pytest.mark.gen_test
async def test_other_methods_are_refused(api: Api) -> None:
    for method, path in ROUTES:
        for other in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"} - {method}:
            headers = {"Authorization": f"Bearer {api.bearer(OPERATOR, **WITH_ROLE)}"}
            answer = await api.request(other, path, headers=headers)
            assert answer.code in (401, 405), (other, path)


class TestWithoutTheSetting:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"stripe_admin_role": None})

    @pytest.mark.gen_test
    async def test_routes_do_not_exist(self, api: Api) -> None:
        for method, path in [*ROUTES, ("GET", ADMIN)]:
            answer = await send(api, method, path, OPERATOR, **WITH_ROLE)
            assert (answer.code, json_of(answer)["code"]) == (404, "not_found"), path
