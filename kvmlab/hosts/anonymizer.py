"""Replacement of names and addresses in what a host printed, the same everywhere in one recording.

Networks stay networks: two addresses with a common prefix get two with a common prefix of the same
length, so that routes, bridges and connections still fit together. Names of interfaces, modules
and drivers stay: what a layout means depends on them.
"""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_MAC: Final = re.compile(r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b")
_IPV4: Final = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]|-)")
_IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:.])")
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_KEY: Final = re.compile(r"(?<![\w+/])[\w+/]{43}=")
#: Addresses of /proc/net/tcp: words of 32 bits in the host's byte order.
_HEX: Final = re.compile(r"\b(?:[0-9A-F]{8}|[0-9A-F]{32})\b")
_NOBODYS_MACS: Final = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")


class Anonymizer:
    """Replaces MACs, IP addresses, UUIDs, keys and given names, each always by the same."""

    def __init__(self, names: dict[str, str] | None = None, *, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(16)
        self._names = names or {}
        self._macs: dict[str, str] = {}
        self._uuids: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return ``text`` with everything replaced that could name a person's host or network."""
        for name, other in self._names.items():
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", other, text)
        text = _UUID.sub(self._uuid, text)
        text = _KEY.sub(lambda match: f"{'KEY':A<43}=", text)
        text = _MAC.sub(self._mac, text)
        text = _IPV4.sub(self._address, text)
        return _IPV6.sub(self._address, text)

    def connections(self, text: str) -> str:
        """Return a list of connections as /proc/net/tcp writes them, with other addresses."""
        return _HEX.sub(self._hex_address, text)

    def _mac(self, match: re.Match[str]) -> str:
        mac = match[0].lower()
        # The MACs of the lab's own bridges and cards say who made them.
        if mac in _NOBODYS_MACS or mac.startswith(("02:6b:76", "33:33", "01:00:5e")):
            return match[0]
        number = len(self._macs) + 1
        return self._macs.setdefault(mac, f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}")

    def _uuid(self, match: re.Match[str]) -> str:
        number = len(self._uuids) + 1
        return self._uuids.setdefault(match[0], f"00000000-0000-4000-8000-{number:012x}")

    def _address(self, match: re.Match[str]) -> str:
        try:
            return str(self._other(ip_address(match[0])))
        except ValueError:
            return match[0]  # a version, a PCI address, a time

    def _hex_address(self, match: re.Match[str]) -> str:
        words = [bytes.fromhex(match[0][at : at + 8])[::-1] for at in range(0, len(match[0]), 8)]
        packed = b"".join(words)
        if len(packed) == 4:
            other = self._other(IPv4Address(packed)).packed
        else:
            address = IPv6Address(packed)
            inner = address.ipv4_mapped
            other = (
                packed[:12] + self._other(inner).packed if inner else self._other(address).packed
            )
        return "".join(other[at : at + 4][::-1].hex().upper() for at in range(0, len(other), 4))

    def _other(self, address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
        """Return another address; one with a meaning of its own stays."""
        special = address.is_loopback or address.is_unspecified or address.is_multicast
        if special or str(address).startswith("255."):
            return address
        bits = address.max_prefixlen
        value = int(address)
        # A link-local address keeps its prefix, and its end tells of no MAC.
        first = (10 if bits == 128 else 16) if address.is_link_local else 0
        mask = 0
        for length in range(first, bits):
            prefix = (value >> (bits - length)).to_bytes(16, "big") + bytes([length])
            flip = blake2b(prefix, key=self._key, digest_size=1).digest()[0] & 1
            mask = mask << 1 | flip
        other = type(address)(value ^ mask)
        unfit = other.is_loopback or other.is_multicast or other.is_unspecified
        return type(address)(int(other) ^ (1 << (bits - 2))) if unfit else other
