"""Bearer tokens: the identity that a valid token gives, and the response to an invalid one."""

import base64
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from datalayer_stripe.auth import BearerTokens
from datalayer_stripe.errors import Unauthorized
from datalayer_stripe.handlers import default_handlers
from datalayer_stripe.handlers.api import AuthenticatedHandler
from datalayer_stripe.models import Identity
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, JWT_SECRET, Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, kept

ISSUER = "https://id.datalayer.run"
PUBLIC = {
    "/api/iam/stripe/v1/webhook",
    "/api/iam/stripe/v1/openapi\\.json",
    f"{IAM_ROUTES}/ping",
    "/healthz",
    "/readyz",
    "/metrics",
}
PRIVATE = [
    ("GET", f"{STRIPE_ROUTES}/topup/prices"),
    ("GET", f"{STRIPE_ROUTES}/plans/prices"),
    ("POST", f"{STRIPE_ROUTES}/topup/payment-intent"),
    ("POST", f"{STRIPE_ROUTES}/subscription/payment-intent"),
    ("POST", f"{STRIPE_ROUTES}/subscription/resume/setup-intent"),
    ("GET", f"{IAM_ROUTES}/subscription"),
    ("GET", f"{IAM_ROUTES}/plans"),
    ("POST", f"{IAM_ROUTES}/subscription/cancel"),
    ("POST", f"{IAM_ROUTES}/plans/cancel"),
    ("POST", f"{IAM_ROUTES}/subscription/resume"),
    ("POST", f"{IAM_ROUTES}/plans/resume"),
    ("GET", f"{IAM_ROUTES}/subscription/plans"),
    ("GET", f"{IAM_ROUTES}/plans/catalog"),
    ("GET", f"{IAM_ROUTES}/usage/credits"),
    ("POST", f"{IAM_ROUTES}/checkout/portal"),
    ("GET", f"{IAM_ROUTES}/plans/eligible-accounts"),
    ("POST", f"{IAM_ROUTES}/plans/accounts/details"),
    ("GET", f"{IAM_ROUTES}/memberships"),
]

# A public key that a wrong verifier would use as an HMAC secret.
PUBLIC_KEY = (
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----"
)


def token(*, secret: str = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a signed token. A claim that is None is left out."""
    payload = {"sub": ACCOUNT, "iss": ISSUER, "exp": int(time.time()) + 300, **claims}
    present = {name: value for name, value in payload.items() if value is not None}
    return signed({"typ": "JWT", "alg": algorithm}, present, secret)


def signed(header: Any, payload: Any, secret: str = JWT_SECRET) -> str:
    """Sign any header and payload, even those that no library would sign."""
    named = header.get("alg") if isinstance(header, dict) else None
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(named, "sha256")
    parts = [_base64(header), _base64(payload)]
    mac = hmac.new(secret.encode(), ".".join(parts).encode(), digest)
    return ".".join([*parts, _base64(mac.digest())])


def _base64(part: Any) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def unsigned(**header: Any) -> str:
    return ".".join([_base64(header), token().split(".")[1], ""])


PAST = int(time.time()) - 1
CLAIMS = {"sub": ACCOUNT, "iss": ISSUER, "exp": int(time.time()) + 3000}
REFUSED = {
    "none": None,
    "empty": "",
    "no token": "Bearer",
    "blank token": "Bearer ",
    "no scheme": token(),
    "basic": f"Basic {token()}",
    "another scheme": f"Token {token()}",
    "garbage": "Bearer garbage",
    "dots": "Bearer ...",
    "not ascii": f"Bearer {token()}\u00e9",
    "two tokens": f"Bearer {token()} {token()}",
    "truncated": f"Bearer {token()[:-2]}",
    "header is a list": f"Bearer {signed([], CLAIMS)}",
    "header is deep": f"Bearer {signed(b'[' * 20_000, CLAIMS)}",
    "payload is a list": f"Bearer {signed({'alg': 'HS256'}, [])}",
    "payload is text": f"Bearer {signed({'alg': 'HS256'}, b'text')}",
    "payload is deep": f"Bearer {signed({'alg': 'HS256'}, b'[' * 20_000)}",
    "expired": f"Bearer {token(exp=PAST)}",
    "no exp": f"Bearer {token(exp=None)}",
    "exp is text": f"Bearer {token(exp='tomorrow')}",
    "exp is a list": f"Bearer {token(exp=[])}",
    "exp is infinite": f"Bearer {token(exp=float('inf'))}",
    "not yet": f"Bearer {token(nbf=PAST + 3600)}",
    "nbf is a list": f"Bearer {token(nbf=[])}",
    "wrong issuer": f"Bearer {token(iss='https://evil.example.com')}",
    "no issuer": f"Bearer {token(iss=None)}",
    "empty issuer": f"Bearer {token(iss='')}",
    "issuer is a list": f"Bearer {token(iss=[ISSUER])}",
    "issuer is an object": f"Bearer {token(iss={'url': ISSUER})}",
    "issuer is longer": f"Bearer {token(iss=f'{ISSUER}/')}",
    "alg none": f"Bearer {unsigned(alg='none', typ='JWT')}",
    "alg None": f"Bearer {unsigned(alg='None')}",
    "no alg": f"Bearer {unsigned(typ='JWT')}",
    "alg none, signed": f"Bearer {signed({'alg': 'none'}, CLAIMS)}",
    "HS512 with the same secret": f"Bearer {token(algorithm='HS512')}",
    "RS256 with the secret as its key": f"Bearer {signed({'alg': 'RS256'}, CLAIMS)}",
    "HS256 with a public key": f"Bearer {token(secret=PUBLIC_KEY)}",
    "wrong secret": f"Bearer {token(secret='another-secret-0123456789abcdef0123')}",
    "empty secret": f"Bearer {token(secret='')}",
    "unknown crit": f"Bearer {signed({'alg': 'HS256', 'crit': ['x'], 'x': 1}, CLAIMS)}",
    "no sub": f"Bearer {token(sub=None)}",
    "empty sub": f"Bearer {token(sub='')}",
    "sub with a blank": f"Bearer {token(sub='a b')}",
    "sub with a newline": f"Bearer {token(sub=ACCOUNT + chr(10))}",
    "sub of full stops": f"Bearer {token(sub='..')}",
    "endless sub": f"Bearer {token(sub='x' * 129)}",
    "sub is a number": f"Bearer {token(sub=7)}",
    "sub is true": f"Bearer {token(sub=True)}",
    "sub is a list": f"Bearer {token(sub=[ACCOUNT])}",
    "sub has no uid": f"Bearer {token(sub={'id': ACCOUNT})}",
    "sub has an empty uid": f"Bearer {token(sub={'uid': ''})}",
    "sub has a number for uid": f"Bearer {token(sub={'uid': 7})}",
    "sub has uids": f"Bearer {token(sub={'uid': {'uid': ACCOUNT}})}",
}


@pytest.fixture
def tokens() -> BearerTokens:
    return BearerTokens(SecretStr(JWT_SECRET), "HS256", [ISSUER, "https://id.example.com"])


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_token_is_refused(tokens: BearerTokens, name: str) -> None:
    with pytest.raises(Unauthorized) as refusal:
        tokens.authenticate(REFUSED[name])
    assert refusal.value.__cause__ is None
    assert refusal.value.message == Unauthorized.default_message


@pytest.mark.gen_test
async def test_all_invalid_tokens_get_the_same_401_response(api: Api, service: Service) -> None:
    answers = set()
    for authorization in REFUSED.values():
        headers = {"X-Request-Id": "same"}
        if authorization is not None:
            headers["Authorization"] = authorization
        answer = await api.request("GET", f"{IAM_ROUTES}/subscription", headers=headers)
        answers.add((answer.code, answer.body))
    [(status, body)] = answers
    assert status == 401
    assert json.loads(body)["code"] == "unauthorized"
    assert await kept(service) == {}


@pytest.mark.gen_test
async def test_every_private_route_requires_a_token(api: Api, service: Service) -> None:
    for method, path in PRIVATE:
        body = b"{}" if method == "POST" else None
        for headers in ({}, {"Authorization": "Bearer garbage"}):
            answer = await api.request(method, path, headers=headers, body=body)
            assert (answer.code, json_of(answer)["code"]) == (401, "unauthorized"), path
    assert await kept(service) == {}


def test_public_routes_are_exactly_these() -> None:
    public = {path for path, handler in default_handlers if not needs_token(handler)}
    assert public == PUBLIC


def needs_token(handler: type) -> bool:
    return issubclass(handler, AuthenticatedHandler)


@pytest.mark.parametrize("subject", [ACCOUNT, {"uid": ACCOUNT}, {"uid": ACCOUNT, "handle": "x"}])
@pytest.mark.gen_test
async def test_older_token_with_object_as_subject_is_accepted(api: Api, subject: Any) -> None:
    headers = {"Authorization": f"Bearer {token(sub=subject)}"}
    answer = await api.request("GET", f"{IAM_ROUTES}/plans/eligible-accounts", headers=headers)
    assert [row["account_uid"] for row in json_of(answer)["accounts"]] == [ACCOUNT]


@pytest.mark.parametrize("issuer", [ISSUER, "https://id.example.com"])
def test_every_allowed_issuer_is_accepted(tokens: BearerTokens, issuer: str) -> None:
    assert tokens.authenticate(f"Bearer {token(iss=issuer)}").account_uid == ACCOUNT


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_is_case_insensitive(tokens: BearerTokens, scheme: str) -> None:
    assert tokens.authenticate(f"{scheme} {token()}").account_uid == ACCOUNT


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_only_configured_algorithm_is_accepted(algorithm: str) -> None:
    secret = "x" * 64
    tokens = BearerTokens(SecretStr(secret), algorithm, [ISSUER])
    for used in ("HS256", "HS384", "HS512"):
        bearer = f"Bearer {token(secret=secret, algorithm=used)}"
        if used == algorithm:
            assert tokens.authenticate(bearer).account_uid == ACCOUNT
        else:
            with pytest.raises(Unauthorized):
                tokens.authenticate(bearer)


def test_token_issued_by_clock_that_is_ahead_is_accepted(tokens: BearerTokens) -> None:
    assert tokens.authenticate(f"Bearer {token(iat=PAST + 60)}").account_uid == ACCOUNT


IN_MILLISECONDS = 1_900_000_000_000


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", [IN_MILLISECONDS, 1e300, True, "1900000000", -1, float("nan")])
def test_time_that_is_not_in_epoch_seconds_is_refused(
    tokens: BearerTokens, claim: str, value: object
) -> None:
    with pytest.raises(Unauthorized):
        tokens.authenticate(f"Bearer {token(**{claim: value})}")


def test_token_may_be_valid_up_to_the_year_9999(tokens: BearerTokens) -> None:
    identity = tokens.authenticate(f"Bearer {token(exp=253_402_300_799)}")
    assert identity.expires_at is not None
    assert identity.expires_at.year == 9999


def test_identity_contains_user_claims(tokens: BearerTokens) -> None:
    user = {
        "uid": ACCOUNT,
        "handle": "ada",
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "roles": ["member"],
    }
    expires = int(time.time()) + 60
    assert tokens.authenticate(f"Bearer {token(user=user, exp=expires)}") == Identity(
        account_uid=ACCOUNT,
        handle="ada",
        email="ada@example.com",
        name="Ada Lovelace",
        first_name="Ada",
        last_name="Lovelace",
        expires_at=datetime.fromtimestamp(expires, UTC),
        roles=("member",),
    )


@pytest.mark.parametrize(
    ("user", "email", "name"),
    [
        (None, None, None),
        ("ada", None, None),
        ([], None, None),
        ({"email": "no address"}, None, None),
        ({"email": 7, "firstName": ["Ada"]}, None, None),
        ({"firstName": "Ada", "lastName": ""}, None, "Ada"),
        ({"lastName": "x" * 1000}, None, "x" * 120),
        ({"firstName": "Ada\n9\u202e", "lastName": "\u200b\x1b\u2028"}, None, "Ada 9"),
        ({"email": "ada\u200b@example.com"}, None, None),
        ({"email": f"{'a' * 120}@example.com"}, None, None),
    ],
)
def test_malformed_user_claim_does_not_refuse_token(
    tokens: BearerTokens, user: Any, email: str | None, name: str | None
) -> None:
    identity = tokens.authenticate(f"Bearer {token(user=user)}")
    assert (identity.account_uid, identity.email, identity.name) == (ACCOUNT, email, name)


def test_repr_of_identity_contains_no_personal_data() -> None:
    identity = Identity(account_uid=ACCOUNT, email="ada@example.com", name="Ada Lovelace")
    assert "ada@" not in repr(identity)
    assert "Ada" not in repr(identity)


def test_no_token_is_accepted_without_a_secret() -> None:
    claims = {"sub": "alice", "iss": ISSUER, "exp": int(time.time()) + 300}
    tokens = BearerTokens(None, "HS256", [ISSUER])
    for secret in (JWT_SECRET, "0" * 32):
        authorization = f"Bearer {jwt.encode(claims, secret)}"
        assert not tokens.has_accepted_issuer(authorization)
        with pytest.raises(Unauthorized):
            tokens.authenticate(authorization)


def test_issuer_is_recognized_without_verifying_the_token() -> None:
    tokens = BearerTokens(SecretStr(JWT_SECRET), "HS256", [ISSUER])
    forged = jwt.encode({"iss": ISSUER}, "another-secret-" * 4)
    foreign = jwt.encode({"iss": "https://elsewhere.example.com"}, JWT_SECRET)
    assert tokens.has_accepted_issuer(f"Bearer {forged}")
    for other in (f"Bearer {foreign}", f"token {forged}", "Bearer opaque", "Bearer ", "", None):
        assert not tokens.has_accepted_issuer(other)


def test_lone_surrogate_in_name_is_replaced(tokens: BearerTokens) -> None:
    user = {"handle": "ada\ud83d", "firstName": "Ada\ud83d", "email": "ada\ud83d@example.com"}
    identity = tokens.authenticate(f"Bearer {token(user=user)}")
    assert (identity.handle, identity.name) == ("ada?", "Ada?")
    identity.model_dump_json()
