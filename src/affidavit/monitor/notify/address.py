"""Where a message may go: a name is resolved once, and what it gives is judged and then used.

An address in a setting could point back into the network that this process stands in (a metadata
service, an administration page). So the connection is opened to the very address that was judged;
a name that resolves to something else a moment later makes no difference.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from affidavit.errors import ConfigError
from affidavit.monitor.notify.base import DeliveryFailed

_PORTS: Final = {"http": 80, "https": 443}
_ODD: Final = frozenset(map(chr, (*range(33), 127)))


class Webhook(NamedTuple):
    """An address messages are posted to."""

    secure: bool
    host: str
    port: int
    path: str
    """With its query; often holds a token, so it is never shown."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.secure else "http"
        port = "" if self.port == _PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{host}{port}"


class Place(NamedTuple):
    """One resolved address that may be connected to."""

    family: int
    address: str


def parse_webhook(url: str, *, private: bool) -> Webhook:
    """Read an address. Raises ConfigError, without showing it whole."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or not url.isascii():
        msg = "alert_webhooks: each must be an address such as https://host/path."
        raise ConfigError(msg)
    if parts.username is not None or not _ODD.isdisjoint(url):
        msg = "alert_webhooks: an address may hold no login and no control characters."
        raise ConfigError(msg)
    secure = parts.scheme == "https"
    if not (secure or private):
        msg = (
            f"alert_webhooks: {parts.hostname} is to be reached by plain http. Use https; "
            "alert_private_addresses=True allows http to addresses of your own network."
        )
        raise ConfigError(msg)
    _check_literal(parts.hostname, private=private)
    return Webhook(secure, parts.hostname, port or _PORTS[parts.scheme], _path(parts))


def _check_literal(host: str, *, private: bool) -> None:
    """Say of an address in figures at once what would be said of it at each delivery."""
    if _read(host) is None:
        return
    if is_never_allowed(host):
        msg = (
            f"alert_webhooks: {host} is a link-local address, or one where a cloud's machines ask "
            "for their own credentials. Those are refused whatever the settings say."
        )
        raise ConfigError(msg)
    if not private and not is_public(host):
        msg = (
            f"alert_webhooks: {host} is an address of a private, loopback or other special "
            "network. Set alert_private_addresses=True if that is meant."
        )
        raise ConfigError(msg)


def resolve(where: Webhook, *, private: bool) -> list[Place]:
    """Resolve a host once and give the addresses that may be used. Raises DeliveryFailed.

    A name that gives even one address that is not allowed is refused: it is not for this.
    Without https only private addresses are allowed, and with ``private`` alone.
    """
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        msg = f"{where.host} cannot be resolved."
        raise DeliveryFailed(msg) from error
    places = [Place(family, str(address[0])) for family, _, _, _, address in found]
    for place in places:
        if is_never_allowed(place.address):
            msg = (
                f"{where.host} is at a link-local address, or at one where a cloud's machines ask "
                "for their own credentials. Those are refused whatever the settings say."
            )
            raise DeliveryFailed(msg, final=True)
        public = is_public(place.address)
        if not public and not private:
            msg = (
                f"{where.host} is at an address of a private, loopback or other special "
                "network. Set alert_private_addresses=True if that is meant."
            )
            raise DeliveryFailed(msg, final=True)
        if public and not where.secure:
            msg = f"{where.host} is at a public address, and plain http may not go there."
            raise DeliveryFailed(msg, final=True)
    if not places:
        msg = f"{where.host} has no address."
        raise DeliveryFailed(msg)
    return places


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet.

    Addresses of IPv4 inside IPv6 (mapped, 6to4, Teredo, NAT64) are judged by what they lead to.
    """
    found = _read(address)
    if found is None or "%" in address:  # one with a zone is never one of the internet
        return False
    if found in _COMPATIBLE or found in _NAT64_LOCAL:
        return False
    inner = _inner(found)
    if inner is not None:
        return is_public(str(inner))
    return found.is_global and not found.is_multicast


def is_never_allowed(address: str) -> bool:
    """Whether an address is link-local, or a metadata service of a cloud.

    Nothing is delivered there, also where private addresses are allowed: what answers there gives
    out the credentials of the machine that asks. Addresses of IPv4 inside IPv6 are judged by what
    they lead to.
    """
    found = _read(address)
    if found is None:
        return False
    inner = _inner(found)
    return any(
        each in network
        for each in (found, inner)
        if each is not None
        for network in _NEVER
        if network.version == each.version
    )


_NEVER: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("169.254.0.0/16", "fe80::/10"),
        # Metadata services that are not at a link-local address.
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("fd00:ec2::254/128", "fd20:ce::254/128"),
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
"""An old way to write addresses of IPv4, which nothing public uses."""


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _inner(
    found: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | None:
    """Give the address of IPv4 that one of IPv6 leads to, if it does."""
    if isinstance(found, ipaddress.IPv4Address):
        return None
    if found.teredo is not None:
        return found.teredo[1]
    if any(found in network for network in (_NAT64, _NAT64_LOCAL, _COMPATIBLE)):
        return ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.ipv4_mapped or found.sixtofour


def _path(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return (parts.path or "/") + query
