"""The page of settings, the log of accesses, and which proxies are believed."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import TYPE_CHECKING

import httpx
import pytest

from affidavit.config import AuditConfig
from affidavit.console.settings import load
from affidavit.console.visitor import Role
from affidavit.store import open_log
from tests.support.console import serving

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.mark.requirement("R13")
def test_the_configuration_is_shown_without_its_secrets(mongodb_uri: str, tmp_path: Path) -> None:
    """Settings of the log and of the service, masked; what was changed stands out."""
    audit = {
        "alert_webhook_secret": SECRET,
        "redaction_key": "hex:" + "ab" * 32,
        "alert_smtp": "smtp://user:topsecret@127.0.0.1:25",
        "batch_size": 77,
    }
    with (
        serving(
            mongodb_uri, audit=audit, oidc_client_secret="hidden-oidc", state_dir=tmp_path
        ) as s,
        s.browser(s.token_of(Role.AUDITOR)) as browser,
    ):
        page = browser.get("/settings").text
        for hidden in (SECRET, "ab" * 32, "topsecret", "hidden-oidc"):
            assert hidden not in page
        assert "batch_size" in page
        assert "<strong><bdi>77</bdi></strong>" in page
        assert 'action="/settings/tokens"' not in page, "an auditor makes no tokens"


@pytest.mark.requirement("R13")
def test_the_settings_of_the_service_say_where_they_come_from(
    mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file, a variable or an option; a secret is masked wherever it came from."""
    file = tmp_path / "audit.toml"
    file.write_text(
        '[serve]\nrequests_per_minute = 4321\noidc_secret = "hidden-in-file"\n', encoding="utf-8"
    )
    monkeypatch.setenv("AFFIDAVIT_CONFIG", str(file))
    monkeypatch.setenv("AFFIDAVIT_SERVE_SESSION_IDLE_S", "1234")
    held = load(max_body_bytes=5_000_000)
    given = {each.name: getattr(held, each.name) for each in fields(held)}
    with (
        serving(mongodb_uri, **{**given, "port": 0, "schedules": False}) as served,
        served.browser() as browser,
    ):
        page = browser.get("/settings").text
    assert "hidden-in-file" not in page
    for value, source in (
        ("4321", "audit.toml"),
        ("1234", "AFFIDAVIT_SERVE_SESSION_IDLE_S"),
        ("5000000", "argument"),
    ):
        row = page.partition(f"<strong><bdi>{value}</bdi></strong>")[2].partition("</tr>")[0]
        assert source in row, value
    assert "<strong><bdi>***</bdi></strong>" in page


@pytest.mark.requirement("R13", "R17")
@pytest.mark.parametrize("is_open", [True, False])
def test_metrics_need_no_token_where_the_settings_say_so(mongodb_uri: str, is_open: bool) -> None:
    """Only these, without sums over everybody; a token that is wrong is still refused."""
    with serving(mongodb_uri, open_metrics=is_open) as served:
        with served.client("") as anybody:
            found = anybody.get("/metrics")
            assert found.status_code == (200 if is_open else 401)
            if is_open:
                assert "affidavit_" in found.text
                assert "\naffidavit_cost_last_day_dollars" not in found.text
            assert anybody.get("/api/v1/calls").status_code == 401
            assert anybody.get("/calls", follow_redirects=False).status_code == 303
        with served.client("aff_0000000000_" + "x" * 43) as wrong:
            assert wrong.get("/metrics").status_code == 401
        with served.client(served.token_of(Role.WRITER)) as writer:
            assert writer.get("/metrics").status_code == 403
        with served.client(served.token_of(Role.VIEWER)) as viewer:
            assert viewer.get("/metrics").status_code == 200


@pytest.mark.requirement("R13")
def test_what_changed_the_configuration_is_read_from_the_ledger(mongodb_uri: str) -> None:
    """The set-up is there, with who did it."""
    with open_log(mongodb_uri, AuditConfig()) as log:
        log.apply(log.plan())
    with serving(mongodb_uri) as served, served.browser() as browser:
        page = browser.get("/settings").text
        assert "setup_version" in page


@pytest.mark.requirement("R13")
def test_the_log_of_accesses_holds_no_query_and_no_secret(
    mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, path, status and time; what is looked for stays out, and so do tokens."""
    caplog.set_level(logging.DEBUG)
    with serving(mongodb_uri) as served:
        key = served.backend.bootstrap.make()
        with served.browser() as browser:
            browser.get("/login/first", params={"key": key})
            browser.get("/calls", params={"user_id": "somebody-looked-for"})
            browser.get("/healthz")
            cookie = browser.cookies[served.backend.doorman.cookie]
        with served.client() as program:
            program.get("/api/v1/calls")
        own = [r for r in caplog.records if r.name.startswith(("affidavit", "uvicorn"))]
        told = "\n".join(record.getMessage() for record in own)
        assert "GET /calls 200" in told
        assert "/healthz" not in told
        for hidden in (key, "somebody-looked-for", cookie, served.token):
            assert hidden not in told


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("believed", [True, False])
def test_only_named_proxies_say_where_a_request_came_from(mongodb_uri: str, believed: bool) -> None:
    """Else whoever guesses could count as another each time."""
    proxies = ("127.0.0.1",) if believed else ()
    with serving(mongodb_uri, behind_proxy=proxies, with_token=False) as served:
        with served.client("") as client:
            for _ in range(10):
                wrong = client.post(
                    "/login",
                    data={"token": "aff_0000000000_" + "x" * 43},
                    headers={"X-Forwarded-For": "203.0.113.7"},
                )
                assert wrong.status_code == httpx.codes.UNAUTHORIZED
            another = client.post(
                "/login",
                data={"token": "aff_0000000000_" + "x" * 43},
                headers={"X-Forwarded-For": "203.0.113.8"},
            )
        expected = httpx.codes.UNAUTHORIZED if believed else httpx.codes.TOO_MANY_REQUESTS
        assert another.status_code == expected
