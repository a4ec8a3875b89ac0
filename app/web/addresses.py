"""Addresses as limits count them."""

from __future__ import annotations

import ipaddress


def neighbourhood(address: str) -> str:
    """An IPv4 address as it is, an IPv6 one as its /64: that is what one household is given (RFC 6177).

    What is no address (a socket file, a name) is given back as it is, cut short.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False)) if not found.is_loopback else str(found)
