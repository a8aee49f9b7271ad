"""Delivery over real connections: signed posts, mail, and addresses that are refused."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig
from affidavit.errors import ConfigError, MissingExtra
from affidavit.monitor.alerts import Event, Key, Level, What
from affidavit.monitor.message import message_of
from affidavit.monitor.notify import address
from affidavit.monitor.notify.base import DeliveryFailed, Message
from affidavit.monitor.notify.bounded import Bounded
from affidavit.monitor.notify.configured import targets_of
from affidavit.monitor.notify.webhook import WebhookTarget
from affidavit.monitor.outbox import notice_of
from affidavit.monitor.rules import rules_of
from tests.support.receivers import HttpReceiver, SmtpReceiver, certificate
from tests.support.watching import until

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.monitor.notify.base import Target

pytestmark = pytest.mark.requirement("R23", "R24")

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
MESSAGE = Message(
    "a1b2c3", "[CRITICAL] records_lost in wadm", "Three lines.", AT, {"level": "critical", "n": 1}
)


def webhook(url: str, **more: Any) -> WebhookTarget:
    """The target of the settings for one address of this host."""
    private = more.pop("private", True)
    return WebhookTarget(address.parse_webhook(url, private=True), KEY, private=private, **more)


def target(**settings: Any) -> Target:
    """The one target, beside the log, of these settings."""
    _log, made = targets_of(AuditConfig(**settings))
    return made


def mail(port: int, **more: Any) -> Target:
    """Mail over a server on this host."""
    login = more.pop("login", "")
    scheme = more.pop("scheme", "smtp")
    return target(
        alert_smtp=f"{scheme}://{login}127.0.0.1:{port}",
        alert_email_to="ops@example.org, on-call@example.org",
        alert_email_from="affidavit@example.org",
    )


# -- posts -----------------------------------------------------------------------------------------


def test_a_post_is_signed_as_standard_webhooks_are() -> None:
    """Checked as a receiver does it: over id, time and body."""
    with HttpReceiver() as receiver:
        target(
            alert_webhooks=receiver.url("/hook?token=t"),
            alert_webhook_secret=SECRET,
            alert_private_addresses=True,
        ).send(MESSAGE)
    (posted,) = receiver.posted
    assert (posted.path, json.loads(posted.body)) == ("/hook?token=t", MESSAGE.data)
    assert posted.headers["webhook-id"] == MESSAGE.id
    stamp = posted.headers["webhook-timestamp"]
    assert abs(time.time() - int(stamp)) < 60
    signed = hmac.digest(KEY, f"{MESSAGE.id}.{stamp}.".encode() + posted.body, "sha256")
    assert posted.headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"


@pytest.mark.parametrize(("status", "final"), [(500, False), (503, False), (429, False),
                                               (400, True), (404, True), (410, True)])  # fmt: skip
def test_a_refusal_is_final_and_a_failure_is_tried_again(status: int, final: bool) -> None:
    """By the status; what the other side sent is not shown."""
    with HttpReceiver(statuses=[status]) as receiver, pytest.raises(DeliveryFailed) as failed:
        webhook(receiver.url("/s3cret")).send(MESSAGE)
    assert failed.value.final is final
    assert str(status) in str(failed.value)
    assert "s3cret" not in str(failed.value)


def test_a_redirect_is_not_followed() -> None:
    """It could lead anywhere."""
    with HttpReceiver() as inner, HttpReceiver([302], location=inner.url()) as outer:
        with pytest.raises(DeliveryFailed, match="status 302"):
            webhook(outer.url()).send(MESSAGE)
        assert inner.posted == []


def test_an_answer_that_comes_byte_by_byte_ends_at_the_limit() -> None:
    """The limit is for the whole post, not for each wait."""
    with HttpReceiver(drip_s=0.2) as receiver:
        began_s = time.monotonic()
        with pytest.raises(DeliveryFailed, match="does not answer"):
            webhook(receiver.url(), timeout_s=0.6).send(MESSAGE)
        assert time.monotonic() - began_s < 5


def test_a_receiver_that_is_away_is_tried_again() -> None:
    """A closed port."""
    with HttpReceiver() as receiver:
        url = receiver.url()
    with pytest.raises(DeliveryFailed) as failed:
        webhook(url).send(MESSAGE)
    assert not failed.value.final


def test_https_needs_a_certificate_that_is_trusted_and_names_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the connection goes to an address that was resolved before."""
    context, trusted = certificate(tmp_path, "127.0.0.1")
    with HttpReceiver(context=context) as receiver:
        with pytest.raises(DeliveryFailed, match="certificate is not trusted"):
            webhook(receiver.url()).send(MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        webhook(receiver.url()).send(MESSAGE)
        with pytest.raises(DeliveryFailed, match="certificate is not trusted"):
            webhook(receiver.url(host="localhost")).send(MESSAGE)
    assert len(receiver.posted) == 1


# -- addresses -------------------------------------------------------------------------------------

SPECIAL = (
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0",  # noqa: S104 - it is refused
    "255.255.255.255", "224.0.0.1", "198.18.0.1", "192.0.2.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::7f00:1", "2001:db8::1",
)  # fmt: skip


@pytest.mark.parametrize("literal", SPECIAL)
def test_addresses_that_are_not_of_the_internet_are_refused(literal: str) -> None:
    """Private, loopback, link-local, metadata services, and those hidden inside IPv6."""
    assert not address.is_public(literal)


ALWAYS_REFUSED = (
    "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::a9fe:a9fe%eth0", "fd00:ec2::254",
    "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "::ffff:169.254.169.254", "::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::", "2001:0:0:0:0:0:5601:5601",
)  # fmt: skip
"""Link-local addresses and metadata services, and how they can be written inside IPv6."""


@pytest.mark.parametrize("literal", ALWAYS_REFUSED)
def test_metadata_services_are_refused_although_private_addresses_are_allowed(
    literal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers there gives out the credentials of the machine; for good, without a try."""
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (literal, 80, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(DeliveryFailed, match="whatever the settings say") as failed:
        address.resolve(address.Webhook(False, "hooks.test", 80, "/"), private=True)
    assert failed.value.final


@pytest.mark.parametrize("literal", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd12::1"])
def test_private_addresses_are_allowed_where_that_is_set(literal: str) -> None:
    """Receivers often stand in the same network."""
    assert not address.is_never_allowed(literal)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://169.254.169.254/latest", True),
        ("http://[fe80::1]/x", True),
        ("https://[::ffff:169.254.169.254]/x", True),
        ("https://127.0.0.1/x", False),
        ("https://10.1.2.3/x", False),
    ],
)
def test_an_address_in_figures_that_would_be_refused_is_an_error_of_the_settings(
    url: str, private: bool
) -> None:
    """It is said when the settings are read, not when an alert should have come."""
    with pytest.raises(ConfigError, match="alert_webhooks"):
        address.parse_webhook(url, private=private)


@pytest.mark.parametrize(
    "literal", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_internet_are_allowed(literal: str) -> None:
    """Otherwise nothing would ever arrive."""
    assert address.is_public(literal)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
def test_a_post_to_this_host_is_refused_however_it_is_written(host: str) -> None:
    """The resolver's answer is judged, not the name."""
    with HttpReceiver() as receiver:
        where = address.Webhook(True, host, receiver.port, "/")
        with pytest.raises(DeliveryFailed, match="alert_private_addresses"):
            WebhookTarget(where, KEY, private=False).send(MESSAGE)
    assert receiver.posted == []


def test_a_name_is_resolved_once_and_its_answer_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that points elsewhere a moment later makes no difference."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *more: Any, **named: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.9", *more, **named)

    with HttpReceiver() as receiver:
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        webhook(receiver.url(host="hooks.test")).send(MESSAGE)
    assert asked == ["hooks.test"]
    assert receiver.posted[0].headers["host"].startswith("hooks.test")


def test_a_name_with_one_forbidden_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them comes first."""
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in ("8.8.8.8", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    where = address.Webhook(True, "hooks.test", 443, "/")
    with pytest.raises(DeliveryFailed, match="alert_private_addresses"):
        address.resolve(where, private=False)


def test_plain_http_goes_to_no_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where private addresses are allowed."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(DeliveryFailed, match="plain http"):
        address.resolve(address.Webhook(False, "hooks.test", 80, "/"), private=True)


# -- mail ------------------------------------------------------------------------------------------


def test_a_mail_arrives_at_all_recipients() -> None:
    """One mail, marked as made by a machine."""
    with SmtpReceiver() as receiver:
        mail(receiver.port).send(MESSAGE)
    (arrived,) = receiver.mails
    assert receiver.recipients == [["ops@example.org", "on-call@example.org"]]
    assert (arrived["Subject"], arrived["Auto-Submitted"]) == (MESSAGE.title, "auto-generated")
    assert arrived.get_content().strip() == MESSAGE.text


def test_mail_is_encrypted_and_logged_in_where_the_server_offers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STARTTLS with a certificate that is checked; the password goes over it."""
    context, trusted = certificate(tmp_path)
    with SmtpReceiver(context=context, login=("me", "p/ss")) as receiver:
        made = mail(receiver.port, login="me:p%2Fss@")
        with pytest.raises(DeliveryFailed, match="certificate is not trusted"):
            made.send(MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        made.send(MESSAGE)
        with pytest.raises(DeliveryFailed, match="refuses user or password") as failed:
            mail(receiver.port, login="me:wr0ng@").send(MESSAGE)
    assert receiver.encrypted == [True]
    assert "wr0ng" not in str(failed.value)


def test_mail_is_not_sent_in_clear_beyond_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server elsewhere that offers no STARTTLS gets nothing."""
    with SmtpReceiver() as receiver:
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _h, *a, **k: real("127.0.0.1", *a, **k))
        made = target(
            alert_smtp=f"smtp://mail.test:{receiver.port}",
            alert_email_to="ops@example.org",
            alert_email_from="affidavit@example.org",
        )
        with pytest.raises(DeliveryFailed, match="no STARTTLS"):
            made.send(MESSAGE)
    assert receiver.mails == []


@pytest.mark.parametrize(("code", "final"), [(550, True), (451, False)])
def test_a_refused_recipient_is_final_only_where_the_server_says_so(code: int, final: bool) -> None:
    """Codes from 500 on are for good."""
    with SmtpReceiver(refuse_code=code) as receiver, pytest.raises(DeliveryFailed) as failed:
        mail(receiver.port).send(MESSAGE)
    assert failed.value.final is final


def test_no_line_break_in_a_title_becomes_a_header() -> None:
    """Names of users may hold anything."""
    odd = Message("x", "a\r\nBcc: eve@example.org", "text", AT, {})
    with SmtpReceiver() as receiver:
        mail(receiver.port).send(odd)
    assert receiver.mails[0]["Bcc"] is None
    assert receiver.recipients == [["ops@example.org", "on-call@example.org"]]


# -- limits ----------------------------------------------------------------------------------------


class Hanging:
    """A target that takes as long as it is told."""

    name = "hanging"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.taken: list[str] = []

    def send(self, message: Message) -> None:
        """Wait, then take it."""
        self.go.wait(30)
        self.taken.append(message.id)


def test_a_delivery_that_hangs_ends_at_the_limit_and_takes_nothing_meanwhile() -> None:
    """A resolver or a plug-in may wait for ever; the monitor does not."""
    hanging = Hanging()
    bounded = Bounded(hanging, limit_s=0.1)
    with pytest.raises(DeliveryFailed, match="took longer"):
        bounded.send(MESSAGE)
    with pytest.raises(DeliveryFailed, match="still busy"):
        bounded.send(MESSAGE)
    hanging.go.set()
    until(lambda: hanging.taken == [MESSAGE.id], "the end of the first")
    until(lambda: not bounded._left or not bounded._left.is_alive(), "its thread's end")
    bounded.send(MESSAGE)
    assert len(hanging.taken) == 2


def test_whatever_a_target_raises_is_a_failed_delivery_without_its_text() -> None:
    """A plug-in's error may hold its address."""

    class Broken(Hanging):
        def send(self, message: Message) -> None:
            msg = f"s3cret {message.id}"
            raise ValueError(msg)

    with pytest.raises(DeliveryFailed, match="ValueError") as failed:
        Bounded(Broken()).send(MESSAGE)
    assert "s3cret" not in str(failed.value)


# -- the rest --------------------------------------------------------------------------------------


def test_the_log_target_logs_by_level(caplog: pytest.LogCaptureFixture) -> None:
    """Critical is an error; a resolution is a warning, which Python shows by default, too."""
    (log,) = targets_of(AuditConfig())
    log.send(MESSAGE)
    log.send(Message("x", "fine", "", AT, {"what": "resolved", "level": "critical"}))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def logged(caplog: pytest.LogCaptureFixture, *events: Event) -> str:
    """What the log says of some events of one rule."""
    (log,) = targets_of(AuditConfig())
    rules = {each.name: each for each in rules_of(AuditConfig())}
    log.send(message_of(notice_of(events, "wadm.llm_audit", ["log"], AT), rules, "wadm.llm_audit"))
    return caplog.records[-1].getMessage()


def event(rule: str, subject: str = "", value: float = 61.0, **more: Any) -> Event:
    """Something that fires since five minutes before noon."""
    what, level = more.get("what", What.FIRING), more.get("level", Level.CRITICAL)
    return Event(what, Key(rule, subject), level, AT, value, since=AT - timedelta(minutes=5))


def test_a_line_of_the_log_has_value_threshold_time_and_next_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever has only that line knows what to do."""
    assert logged(caplog, event("write_latency_p95")) == (
        "[CRITICAL] write_latency_p95 in wadm.llm_audit: 95th percentile of write latency: 61 ms "
        "(alerts above 50 ms), since 2026-11-23 11:55:00 UTC. Look at the database's load; "
        "batch_writes takes it out of the caller's way."
    )


def test_the_end_of_an_alert_is_logged_with_its_value_and_its_beginning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And where nothing is to be done, nothing is said of that."""
    ended = event("write_latency_p95", value=12.0, what=What.RESOLVED)
    assert logged(caplog, ended) == (
        "[RESOLVED] write_latency_p95 in wadm.llm_audit: 95th percentile of write latency: 12 ms "
        "(alerts above 50 ms), begun at 2026-11-23 11:55:00 UTC."
    )


def test_no_line_of_the_log_names_a_person(caplog: pytest.LogCaptureFixture) -> None:
    """Logs are kept and sent on; the mail and the list have the names."""
    one, other = event("budget_user", "ana@example.org", 130.0), event("budget_user", "ben", 85.0)
    for events in ([one], [one, other]):
        line = logged(caplog, *events)
        assert "ana" not in line
        assert "ben" not in line
        assert "130%" in line
    assert "2 of them, up to 130%" in line


def test_apprise_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(MissingExtra, match=r"affidavit\[apprise\]"):
        targets_of(AuditConfig(alert_apprise="json://localhost"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alert_webhooks": "https://h/x"}, "needs alert_webhook_secret"),
        ({"alert_webhooks": "https://h/x", "alert_webhook_secret": "short"}, "whsec_"),
        ({"alert_webhooks": "ftp://h/t0ken", "alert_webhook_secret": SECRET}, "https://host/path"),
        ({"alert_webhooks": "http://h/t0ken", "alert_webhook_secret": SECRET}, "plain http"),
        ({"alert_webhooks": "https://u:t0ken@h/", "alert_webhook_secret": SECRET}, "no login"),
        ({"alert_smtp": "mail.test"}, "alert_smtp must be"),
        ({"alert_smtp": "smtp://h", "alert_email_to": "a@b"}, "needs alert_email_from"),
        ({"alert_email_to": "a@b"}, "needs alert_smtp"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_meant_is_an_error_without_its_secrets(
    settings: dict[str, Any], said: str
) -> None:
    """The text names the setting."""
    with pytest.raises(ConfigError, match=said) as error:
        targets_of(AuditConfig(**settings))
    assert "t0ken" not in str(error.value)


def test_a_targets_name_holds_no_secret_and_tells_two_apart() -> None:
    """It stands in the state, in logs and in the history."""
    one, other = webhook("https://h.test/s3cret"), webhook("https://h.test/0ther")
    assert one.name != other.name
    assert "s3cret" not in one.name
    assert one.name.startswith("webhook https://h.test (")
