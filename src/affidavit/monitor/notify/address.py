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
    return Webhook(secure, parts.hostname, port or _PORTS[parts.scheme], _path(parts))


def resolve(where: Webhook, *, private: bool) -> list[Place]:
    """Resolve a host once and give the addresses that may be used. Raises DeliveryFailed.

    A name that gives even one address that is not allowed is refused: it is not for this.
    Without https only private addresses are allowed, and with ``private`` alone.
    """
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        msg = f"{where.host} cannot be resolved. It is tried again."
        raise DeliveryFailed(msg) from error
    places = [Place(family, str(address[0])) for family, _, _, _, address in found]
    for place in places:
        public = is_public(place.address)
        if not public and not private:
            msg = (
                f"{where.host} is at an address of a private, loopback, link-local or other "
                "special network. Set alert_private_addresses=True if that is meant."
            )
            raise DeliveryFailed(msg, final=True)
        if public and not where.secure:
            msg = f"{where.host} is at a public address, and plain http may not go there."
            raise DeliveryFailed(msg, final=True)
    if not places:
        msg = f"{where.host} has no address. It is tried again."
        raise DeliveryFailed(msg)
    return places


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet.

    Addresses of IPv4 inside IPv6 (mapped, 6to4, Teredo, NAT64) are judged by what they lead to.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if "%" in address:  # an address with a zone is never one of the internet
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or _nat64(found)
        if found.teredo is not None:
            inner = found.teredo[1]
        if inner is not None:
            return is_public(str(inner))
        if found in _COMPATIBLE:
            return False
    return found.is_global and not found.is_multicast


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")
"""An old way to write addresses of IPv4, which nothing public uses."""


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address not in _NAT64:
        return None
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _path(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return (parts.path or "/") + query
