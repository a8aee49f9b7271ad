"""Log-in at an OpenID Connect issuer: authorization code with PKCE, state and nonce.

Only the issuer's own host is asked, and those named in the settings: an address in its documents
can lead nowhere else. State, nonce and verifier are made of one secret in a cookie of the browser
that began, so an answer is of use to that browser only; the store keeps where it wanted to go, and
gives that out once. What the claims say is read as a role and a scope by the settings.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from affidavit.console.auth import secret
from affidavit.console.auth.fetch import Fetcher, FetchFailed
from affidavit.console.auth.tokens import MOST_NAME, checked_name
from affidavit.console.doors import Refusal
from affidavit.console.visitor import Role, Scope
from affidavit.errors import ConfigError
from affidavit.store.serving import ServiceStore

if TYPE_CHECKING:
    from affidavit.console.config import ServeConfig

KIND: Final = "oidc"
WAIT: Final = timedelta(minutes=10)
BACK: Final = "/login/oidc/back"
ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]
"""Signatures with a public key: the issuer alone can make them."""

_KNOWN_FOR_S: Final = 3600.0
_KEYS_EVERY_S: Final = 60.0
"""Keys are asked for again this often at most, when a token names one that is not known."""

_FAILED_FOR_S: Final = 3.0
"""What failed is not asked again for so long."""

_SLACK_S: Final = 60
_ACCOUNT: Final = 24
_MOST_VALUES: Final = 100


@dataclass(frozen=True, slots=True)
class Started:
    """A log-in that began."""

    address: str
    """Where the browser is sent."""
    browser: str
    """What its cookie holds meanwhile."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the issuer vouches for."""

    name: str
    role: Role
    scope: Scope
    target: str
    """Where they wanted to go."""
    account: str
    """Who it is at the issuer, whatever they are called there."""


class Oidc:
    """The issuer of the settings. Any number of threads may ask."""

    def __init__(self, serve: ServeConfig, store: ServiceStore, address: Callable[[], str]) -> None:
        """``address`` tells how browsers reach this service."""
        self._serve = serve
        self._store = store
        self._address = address
        self._issuer = (serve.oidc_issuer or "").rstrip("/")
        parts = urlsplit(self._issuer)
        self.shown = parts.hostname or ""
        """The issuer for people."""
        hosts = frozenset({parts.netloc.lower(), *(host.lower() for host in serve.oidc_hosts)})
        self._fetcher = Fetcher(hosts, serve.oidc_ca)
        self._lock = threading.Lock()
        self._document: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._failed = (float("-inf"), "")
        """When asking failed last, and why."""

    def start(self, target: str) -> Started:
        """Begin a log-in. Raises Refusal where the issuer does not answer."""
        browser = secret.made()
        state = _state(browser)
        self._store.add(KIND, secret.hashed(state), {"target": target}, datetime.now(UTC) + WAIT)
        challenge = hashlib.sha256(_verifier(browser).encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._serve.oidc_client_id or "",
            "redirect_uri": self._address() + BACK,
            "scope": self._serve.oidc_scopes,
            "state": state,
            "nonce": _nonce(browser),
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        with _said():
            where = str(self._known()["authorization_endpoint"])
        return Started(f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}", browser)

    def finish(self, given: Mapping[str, str], browser: str) -> Person:
        """Take what the issuer sent the browser back with. Raises Refusal."""
        state = given.get("state", "")
        if not browser or not secret.same(state, _state(browser)):
            raise _not("The answer is not to a log-in that this browser began. Begin again.")
        kept = self._store.remove(KIND, secret.hashed(state))
        if kept is None:
            raise _not("This log-in took too long, or was finished already. Begin again.")
        if given.get("iss") not in {None, self._issuer, self._issuer + "/"}:
            raise _not("The answer is from another issuer. Begin again.")
        if "code" not in given:
            raise _not("The issuer did not let you in. Ask whoever runs it.")
        with _said():
            claims = self._claims(given["code"], browser)
        return self._person(claims, str(kept["target"]))

    def _claims(self, code: str, browser: str) -> Mapping[str, Any]:
        known, client = self._known(), self._serve.oidc_client_id or ""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._address() + BACK,
            "code_verifier": _verifier(browser),
        }
        headers: dict[str, str] = {}
        hidden = self._serve.oidc_client_secret
        ways = known.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if hidden and "client_secret_basic" in ways:
            login = f"{quote(client, safe='')}:{quote(hidden, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        else:
            form["client_id"] = client
            if hidden:
                form["client_secret"] = hidden
        answer = self._fetcher.post(str(known["token_endpoint"]), form, headers)
        claims = self._verified(str(answer.get("id_token", "")))
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        now = time.time()
        wrong = (
            claims.get("iss") not in {self._issuer, self._issuer + "/"}
            or client not in audiences
            or (len(audiences) > 1 and claims.get("azp") != client)
            or not _is_after(claims.get("exp"), now - _SLACK_S)
            or _is_after(claims.get("iat", now), now + _SLACK_S)
            or not secret.same(str(claims.get("nonce", "")), _nonce(browser))
            or not isinstance(claims.get("sub"), str)
        )
        if wrong:
            raise FetchFailed("The issuer's token is not for this log-in. Begin again.")
        return claims

    def _verified(self, token: str) -> Mapping[str, Any]:
        for again in (False, True):
            try:
                return jwt.decode(token, self._key_set(again=again), algorithms=ALGORITHMS).claims
            except (JoseError, ValueError, TypeError, KeyError):
                continue  # keys are changed now and then
        raise FetchFailed("The issuer's token is not signed by one of its keys. Begin again.")

    def _person(self, claims: Mapping[str, Any], target: str) -> Person:
        role = self._role(_values(claims, self._serve.oidc_roles_claim))
        if role is None:
            raise Refusal(
                403,
                "No role",
                f"You are known to {self.shown}, which gives you no role here. An administrator "
                f"can give you one (claim {self._serve.oidc_roles_claim}).",
            )
        scope = Scope(
            _limits(claims, self._serve.oidc_departments_claim),
            _limits(claims, self._serve.oidc_tenants_claim),
        )
        return Person(_name(claims), role, scope, target, self._account(claims))

    def _account(self, claims: Mapping[str, Any]) -> str:
        named = f"{self._issuer}\0{claims['sub']}".encode()
        return f"oidc:{hashlib.sha256(named).hexdigest()[:_ACCOUNT]}"

    def _role(self, values: Iterable[str]) -> Role | None:
        named = dict(self._serve.oidc_roles)
        found = [named.get(value, value) for value in values]
        known = [role for role in Role if role.value in found]
        if known:
            return known[-1]  # roles are in order: each may more than the one before
        default = self._serve.oidc_default_role
        return None if default is None else Role(default)

    # -- what the issuer publishes ---------------------------------------------------------------

    def _known(self) -> dict[str, Any]:
        with self._lock:
            if self._document is not None and time.monotonic() - self._document[0] < _KNOWN_FOR_S:
                return self._document[1]
            found = self._asked(f"{self._issuer}/.well-known/openid-configuration")
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer or not all(
                isinstance(found.get(name), str) for name in names
            ):
                raise FetchFailed(f"{self.shown} does not describe itself as the issuer it is.")
            where = urlsplit(found["authorization_endpoint"])
            if where.scheme not in {"https", urlsplit(self._issuer).scheme}:
                raise FetchFailed(f"{self.shown} asks to log in over an address that is not https.")
            self._document = (time.monotonic(), found)
            return found

    def _key_set(self, *, again: bool) -> KeySet:
        known = self._known()
        with self._lock:
            limit_s = _KEYS_EVERY_S if again else _KNOWN_FOR_S
            if self._keys is not None and time.monotonic() - self._keys[0] < limit_s:
                return self._keys[1]
            found: Any = self._asked(known["jwks_uri"])
            try:
                made = KeySet.import_key_set(found)
            except Exception as error:
                # Whatever the library makes of keys that are none; its text may hold what came.
                raise FetchFailed(f"The keys of {self.shown} cannot be read.") from error
            self._keys = (time.monotonic(), made)
            return made

    def _asked(self, url: str) -> dict[str, Any]:
        """Ask for a document, with the lock held; who waited for a failure does not ask again."""
        failed_s, why = self._failed
        if time.monotonic() - failed_s < _FAILED_FOR_S:
            raise FetchFailed(why)
        try:
            return self._fetcher.get(url)
        except FetchFailed as error:
            self._failed = (time.monotonic(), str(error))
            raise


class _said:  # noqa: N801 - used as a phrase
    """Turns what the issuer did into what is answered."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FetchFailed):
            raise Refusal(502, "No log-in", str(error)) from error


def _not(detail: str) -> Refusal:
    return Refusal(401, "No log-in", detail)


def _state(browser: str) -> str:
    return secret.derived(browser, "affidavit oidc state")


def _nonce(browser: str) -> str:
    return secret.derived(browser, "affidavit oidc nonce")


def _verifier(browser: str) -> str:
    return secret.derived(browser, "affidavit oidc verifier")


def _is_after(value: object, moment: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > moment


def _values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Give the texts of a claim; a name with dots leads into it, as in ``realm_access.roles``."""
    found: Any = claims
    if name in claims:
        found = claims[name]
    else:
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    given = found if isinstance(found, list) else [found]
    return [value for value in given[:_MOST_VALUES] if isinstance(value, str)]


def _limits(claims: Mapping[str, Any], name: str | None) -> tuple[str, ...] | None:
    """Give what somebody is kept to: all where no claim is set, nothing where it is empty."""
    return None if name is None else tuple(_values(claims, name))


def _name(claims: Mapping[str, Any]) -> str:
    for part in ("preferred_username", "email", "name", "sub"):
        value = claims.get(part)
        if isinstance(value, str):
            try:
                return checked_name(value[:MOST_NAME])
            except ConfigError:
                continue
    return "somebody"
