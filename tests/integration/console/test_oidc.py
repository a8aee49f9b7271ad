"""Log-in at an OpenID Connect issuer, over real HTTP, with one that can be wrong on purpose."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from affidavit.console.auth.throttle import Buckets
from affidavit.console.visitor import Role, Scope
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.issuer import CLIENT, SECRET, Issuer, issuing
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.demo.mongod import Mongod


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer for one test."""
    with issuing() as running:
        yield running


@pytest.fixture
def served(mongodb_uri: str, issuer: Issuer) -> Iterator[Served]:
    """A service that sends people there."""
    with serving(
        mongodb_uri,
        oidc_issuer=issuer.url,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_roles_claim="realm.groups",
        oidc_roles=(("audit team", "auditor"), ("platform", "admin")),
        oidc_departments_claim="departments",
    ) as running:
        yield running


ADA: dict[str, Any] = {
    "sub": "1",
    "preferred_username": "ada",
    "realm": {"groups": ["staff", "audit team", "viewer"]},
    "departments": ["trading"],
}


def log_in(served: Served, target: str = "/login") -> httpx.Response:
    """Go through it as a browser does: there, and back."""
    with httpx.Client(base_url=served.url, follow_redirects=True, timeout=30) as browser:
        return browser.get("/login/oidc", params={"next": target})


@pytest.mark.requirement("R13")
def test_somebody_comes_in_with_the_role_and_scope_of_their_claims(
    served: Served, issuer: Issuer
) -> None:
    """The highest of their groups counts, and the departments that the claim names."""
    issuer.claims = ADA
    assert log_in(served, "/settings").url.path == "/settings"
    [session] = served.backend.doorman.sessions.all()
    assert (session.who, session.role, session.by) == ("ada", Role.AUDITOR, "oidc")
    assert session.scope == Scope(departments=("trading",))


@pytest.mark.requirement("R13")
def test_an_empty_claim_limits_to_nothing_and_not_to_everything(
    served: Served, issuer: Issuer
) -> None:
    """Where departments come from a claim, somebody without one sees none."""
    issuer.claims = {**ADA, "departments": None}
    assert log_in(served).is_success
    [session] = served.backend.doorman.sessions.all()
    assert session.scope == Scope(departments=())


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "claims",
    [
        {**ADA, "realm": {"groups": ["staff"]}},
        {**ADA, "realm": None},
        {**ADA, "realm": {"groups": {"admin": True}}},
        {**ADA, "iss": "https://evil.example"},
        {**ADA, "aud": "another client"},
        {**ADA, "aud": [CLIENT, "another"], "azp": "another"},
        {**ADA, "exp": 1_000_000_000},
        {**ADA, "exp": None},
        {**ADA, "exp": True},
        {**ADA, "iat": 9_999_999_999},
        {**ADA, "nonce": "of another log-in"},
        {**ADA, "nonce": None},
        {**ADA, "sub": None},
    ],
    ids=lambda claims: str({k: v for k, v in claims.items() if ADA.get(k) != v}),
)
def test_who_has_no_role_or_another_token_is_not_let_in(
    served: Served, issuer: Issuer, claims: dict[str, Any]
) -> None:
    """Each claim is checked, and no session is opened."""
    issuer.claims = claims
    answer = log_in(served)
    assert 400 <= answer.status_code < 600
    assert "Traceback" not in answer.text
    assert served.backend.doorman.sessions.all() == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("how", ["another key", "none", "symmetric"])
def test_a_token_that_the_issuers_key_did_not_sign_is_refused(
    served: Served, issuer: Issuer, how: str
) -> None:
    """Another key, no signature, or the public key used as a secret."""
    issuer.claims = ADA
    if how == "another key":
        issuer.signing = RSAKey.generate_key(2048)
    elif how == "none":
        issuer.algorithm = "none"
    else:
        issuer.algorithm = "HS256"
    assert log_in(served).status_code == httpx.codes.BAD_GATEWAY
    assert served.backend.doorman.sessions.all() == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "document",
    [
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"jwks_uri": "http://169.254.169.254/latest/meta-data"},
        {"token_endpoint": "http://localhost:1/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"issuer": "https://evil.example"},
        {"jwks_uri": None},
    ],
    ids=str,
)
def test_only_the_issuers_own_host_is_asked(
    served: Served, issuer: Issuer, document: dict[str, Any]
) -> None:
    """Its documents can lead nowhere else, whoever writes them."""
    issuer.claims, issuer.document = ADA, document
    answer = log_in(served)
    assert answer.status_code == httpx.codes.BAD_GATEWAY
    assert served.backend.doorman.sessions.all() == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"keys": None},
        {"keys": [1]},
        {"keys": {"a": 1}},
        {"keys": [{"kty": ["RSA"]}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "", "kid": "one"}]},
        {"keys": [{"kty": "RSA", "n": 7, "e": 7, "kid": "one"}]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "one"}]},
    ],
    ids=str,
)
def test_keys_that_are_none_let_nobody_in(
    served: Served, issuer: Issuer, keys: dict[str, Any]
) -> None:
    """Whatever the document holds, it is no fault of this program."""
    issuer.claims, issuer.keys = ADA, keys
    answer = log_in(served)
    assert answer.status_code == httpx.codes.BAD_GATEWAY
    assert served.backend.doorman.sessions.all() == []


@pytest.mark.requirement("R13")
def test_an_issuer_that_never_answers_keeps_nobody_else_waiting(mongodb_uri: str) -> None:
    """Anybody may begin to log in; that takes no thread from pages, however often it is done."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            serving(mongodb_uri, oidc_issuer=url, oidc_client_id=CLIENT) as served,
            ThreadPoolExecutor(40) as many,
        ):
            began = [
                many.submit(httpx.get, f"{served.url}/login/oidc", timeout=60) for _ in range(40)
            ]
            time.sleep(1)
            began_s = time.monotonic()
            with served.browser() as browser:
                assert browser.get("/calls").status_code == httpx.codes.OK
            assert time.monotonic() - began_s < 8, "it waited for the issuer"
            assert not any(each.done() for each in began), "the issuer answered"
            answers = {each.result().status_code for each in began}
            assert answers == {httpx.codes.BAD_GATEWAY}


@pytest.mark.requirement("R13")
def test_an_answer_is_of_use_once_and_to_the_browser_that_began(
    served: Served, issuer: Issuer
) -> None:
    """Another browser, a second time, or another state: nobody comes in."""
    issuer.claims = ADA
    with (
        httpx.Client(base_url=served.url, timeout=30) as browser,
        httpx.Client(base_url=served.url, timeout=30) as other,
    ):
        there = browser.get("/login/oidc").headers["location"]
        assert "S256" in there
        back = httpx.get(there).headers["location"]
        query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        path = "/login/oidc/back"
        assert other.get(path, params=query).status_code == httpx.codes.UNAUTHORIZED
        odd = {**query, "state": "0" * 64}
        assert browser.get(path, params=odd).status_code == httpx.codes.UNAUTHORIZED
        assert browser.get(path, params=query).status_code == httpx.codes.SEE_OTHER
        assert browser.get(path, params=query).status_code == httpx.codes.UNAUTHORIZED
    assert len(served.backend.doorman.sessions.all()) == 1


@pytest.mark.requirement("R13")
def test_log_ins_that_are_begun_and_never_finished_are_braked(served: Served) -> None:
    """Each is kept for a while: nobody fills the database with them."""
    with httpx.Client(base_url=served.url, timeout=30) as browser:
        served.backend.doorman.begins = Buckets(5, 1 / 3600)
        answers = [browser.get("/login/oidc").status_code for _ in range(8)]
    assert answers == [httpx.codes.SEE_OTHER] * 5 + [httpx.codes.TOO_MANY_REQUESTS] * 3
    assert len(served.backend.service.all("oidc")) == 5
    with served.browser() as browser:
        assert browser.get("/calls").is_success, "a token goes on working"


@pytest.mark.requirement("R13")
def test_nobody_is_led_elsewhere_by_the_log_in(served: Served, issuer: Issuer) -> None:
    """Where one wanted to go is a path of this service."""
    issuer.claims = ADA
    assert log_in(served, "https://evil.example/").url.host == "127.0.0.1"


@pytest.mark.requirement("R13")
def test_keys_that_the_issuer_changes_are_fetched_again(served: Served, issuer: Issuer) -> None:
    """A new key is found without a restart, once a minute at most."""
    issuer.claims = ADA
    assert log_in(served).is_success
    issuer.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert served.backend.oidc is not None
    known = served.backend.oidc._keys
    assert known is not None
    served.backend.oidc._keys = (known[0] - 61.0, known[1])
    assert log_in(served, "/settings").url.path == "/settings"


@pytest.mark.requirement("R13")
def test_an_issuer_that_is_away_is_said_to_be(
    mongod: Mongod | GivenServer,
) -> None:
    """The log-in page says so, and a token goes on working."""
    with (
        fresh_database(mongod.uri) as database,
        serving(
            with_database(mongod.uri, database.name),
            oidc_issuer="http://127.0.0.1:9",
            oidc_client_id=CLIENT,
        ) as served,
    ):
        assert "127.0.0.1" in httpx.get(f"{served.url}/login").text
        assert log_in(served).status_code == httpx.codes.BAD_GATEWAY
        with served.browser() as browser:
            assert browser.get("/settings").is_success
