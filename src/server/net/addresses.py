"""Whose a connection is: the client's address, also behind proxies that are trusted to tell it.

A peer that is no trusted proxy is the client, whatever its headers say. Of a trusted one the client is the last address in
X-Forwarded-For that is not itself a trusted proxy's, or what the PROXY protocol (transports/proxy_protocol.py) says. A proxy that tells
nothing leaves the address unknown, "": its own is nobody's, and no limit of one address is laid on it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Entries of X-Forwarded-For that are looked at, from the last one on.
HOPS: Final = 32
#: What one subscriber has of IPv6 (RFC 6177); its addresses are one for limits.
_PREFIX: Final = 64


def parse(text: str) -> str | None:
    """An address as this server writes it: without port, brackets and zone; IPv4 in IPv6 as IPv4. None: it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address: _Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@lru_cache(4096)
def subscriber(address: str) -> str:
    """What limits of one address count by: an IPv4 address, the network of an IPv6 one; "" for one that is unknown."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/{_PREFIX}", strict=False))


def network(text: str) -> _Network:
    """An address, or a network such as "10.0.0.0/8". Raises ValueError."""
    return ipaddress.ip_network(text.strip())


class Addresses:
    """What one configuration trusts."""

    def __init__(self, trusted: Sequence[str], *, proxy_protocol: bool = False) -> None:
        """``proxy_protocol``: connections from ``trusted`` begin with its header. Raises ValueError for what is no network."""
        self._networks = [network(one) for one in trusted]
        self._proxy_protocol = proxy_protocol
        self._trusts = lru_cache(4096)(self._look)

    @property
    def trusting(self) -> bool:
        """Whether any proxy is trusted."""
        return bool(self._networks)

    def _look(self, address: str) -> bool:
        found: _Address = ipaddress.ip_address(address)
        return any(found.version == one.version and found in one for one in self._networks)

    def trusts(self, address: str) -> bool:
        """Whether it is a trusted proxy's. ``address``: as ``parse`` gives it."""
        return bool(self._networks and address) and self._trusts(address)

    def announces(self, peer: str) -> bool:
        """Whether connections from there begin with a header of the PROXY protocol."""
        return self._proxy_protocol and self.trusts(peer)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address, or "". ``peer``: who is connected here, or whom the PROXY protocol named; ``forwarded``:
        the X-Forwarded-For lines of its request. O(entries), of which at most ``HOPS`` are looked at."""
        if not self.trusts(peer):
            return peer
        found = ""
        for entry in ",".join(forwarded).rsplit(",", HOPS)[: -HOPS - 1 : -1]:
            address = parse(entry)
            if address is None:
                break  # "unknown", or made up: what lies before it came through somebody who does not tell
            found = address
            if not self.trusts(address):
                break
        return found
