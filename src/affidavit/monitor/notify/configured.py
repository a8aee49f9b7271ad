"""The targets that the settings name."""

from __future__ import annotations

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.monitor.notify.address import parse_webhook
from affidavit.monitor.notify.base import Target
from affidavit.monitor.notify.bounded import Bounded
from affidavit.monitor.notify.log import LogTarget


def targets_of(config: AuditConfig) -> list[Target]:
    """Make them: always the log, and mail, webhooks and Apprise where they are set.

    Raises ConfigError and MissingExtra. Nothing is connected to.
    """
    made: list[Target] = []
    if config.alert_smtp is not None:
        made.append(_mail(config))
    elif config.alert_email_to is not None:
        msg = "alert_email_to needs alert_smtp, such as smtp://user:password@host:587."
        raise ConfigError(msg)
    made += _webhooks(config)
    if config.alert_apprise is not None:
        from affidavit.monitor.notify.chat import AppriseTarget

        urls = config.alert_apprise.split()
        made += [AppriseTarget(url, number) for number, url in enumerate(urls, 1)]
    bounded = {target.name: Bounded(target) for target in made}
    return [LogTarget(), *bounded.values()]


def _mail(config: AuditConfig) -> Target:
    from affidavit.monitor.notify.mail import MailTarget, parse_server

    server = parse_server(str(config.alert_smtp))
    to = [each.strip() for each in (config.alert_email_to or "").split(",") if each.strip()]
    sender = (config.alert_email_from or "").strip()
    for name, given in (("alert_email_to", to), ("alert_email_from", [sender])):
        if not given or not all(_is_plain(each) for each in given):
            msg = f"alert_smtp needs {name}: mail addresses such as ops@example.org."
            raise ConfigError(msg)
    return MailTarget(server, sender, to)


def _is_plain(address: str) -> bool:
    return "@" in address and not any(c.isspace() or c in '<>,;:"' for c in address)


def _webhooks(config: AuditConfig) -> list[Target]:
    if config.alert_webhooks is None:
        return []
    if config.alert_webhook_secret is None:
        msg = (
            "alert_webhooks needs alert_webhook_secret, by which receivers tell our posts from "
            "others'. docs/how-to/alerts.md shows how to make one."
        )
        raise ConfigError(msg)
    from affidavit.monitor.notify.webhook import WebhookTarget, read_key

    key, private = read_key(config.alert_webhook_secret), config.alert_private_addresses
    return [
        WebhookTarget(parse_webhook(url, private=private), key, private=private)
        for url in config.alert_webhooks.split()
    ]
