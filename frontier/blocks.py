"""The operator's block list: what is not to be contacted because somebody asked for it.

Pure but for :func:`load` and the like at the end, which keep it in the frontier for the whole
fleet. A target is written as

- ``example.org`` or ``example.org:8080``: a host, on all its ports or on one;
- ``*.example.org``: a name and all names below it;
- ``example.org/members``: URLs of a host that begin so, with http and https;
- ``192.0.2.7`` or ``2001:db8::/32``: addresses, whatever names lead to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

import msgspec

from frontier import keys
from frontier.url import InvalidUrl, Url, parse

if TYPE_CHECKING:
    from frontier.driver import Driver

_SCHEMES: Final = ("https://", "http://")


class Block(msgspec.Struct, frozen=True):
    """One entry, with what is needed to answer for it later."""

    target: str  # in the form that :func:`canonical` gives
    who: str  # entered it
    when: float  # unix seconds
    why: str  # in words

    @property
    def words(self) -> str:
        """Why something is left alone, for an operator."""
        return f"{self.target} is on the block list: {self.why}"


def canonical(text: str) -> str:
    """A target as it is kept; InvalidUrl says why it is none."""
    text = text.strip()
    try:
        return str(_unmapped(text))
    except ValueError:
        pass
    bare = next((text[len(s) :] for s in _SCHEMES if text.lower().startswith(s)), text)
    below = bare.startswith("*.")
    url = parse("http://" + bare.removeprefix("*."))
    if "*" in url.host or (below and (url.path != "/" or url.host != url.hostname)):
        raise InvalidUrl("not a host, a prefix of URLs or an address")
    if url.path != "/":
        return url.host + url.path
    try:
        return str(_unmapped(url.host.strip("[]")))  # fails where there is a port
    except ValueError:
        return f"*.{url.host}" if below else url.host


def _unmapped(text: str) -> object:
    """An address or a network; IPv4 where it is one inside of IPv6."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        network = ip_network(
            (network.network_address.ipv4_mapped, max(0, network.prefixlen - 96)), strict=False
        )
    return network if network.num_addresses > 1 else network.network_address


class BlockList:
    """All entries, ready for lookups; the time of one does not grow with their number."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._names: dict[str, Block] = {}  # hosts, and names with all below them as "*.name"
        self._prefixes: dict[str, list[Block]] = {}  # by host
        self._networks: dict[tuple[int, int], dict[int, Block]] = {}  # by version and length
        for block in blocks:
            self._take(block)

    def _take(self, block: Block) -> None:
        try:
            network = ip_network(block.target)
        except ValueError:
            host, slash, _ = block.target.partition("/")
            if slash:
                self._prefixes.setdefault(host, []).append(block)
            else:
                self._names[host] = block
            return
        bits = network.max_prefixlen - network.prefixlen
        table = self._networks.setdefault((network.version, bits), {})
        table[int(network.network_address) >> bits] = block

    def of(self, url: Url) -> Block | None:
        """The entry that forbids a URL; its host's addresses are asked for with :meth:`at`."""
        if not (self._names or self._prefixes or self._networks):
            return None
        for host in dict.fromkeys((url.host, url.hostname)):
            for block in self._prefixes.get(host, ()):
                if (host + url.path).startswith(block.target):
                    return block
            if (found := self._names.get(host)) is not None:
                return found
        name = url.hostname
        while name:
            if (found := self._names.get(f"*.{name}")) is not None:
                return found
            name = name.partition(".")[2]
        return self.at(url.hostname)

    def at(self, address: str) -> Block | None:
        """The entry that forbids an address; None for what is none."""
        if not self._networks:
            return None
        try:
            found: IPv4Address | IPv6Address = ip_address(address)
        except ValueError:
            return None
        if isinstance(found, IPv6Address):
            found = found.ipv4_mapped or found
        for (version, bits), table in self._networks.items():
            if version == found.version and (block := table.get(int(found) >> bits)) is not None:
                return block
        return None


# -- in the frontier


async def version(driver: Driver) -> int:
    """Grows with every change of the list; 0: there is none."""
    return int(await driver.command("GET", keys.BLOCKS_VERSION) or 0)


async def load(driver: Driver) -> list[Block]:
    """All entries, by target."""
    found: dict[bytes, bytes] = await driver.command("HGETALL", keys.BLOCKS)
    blocks = (msgspec.msgpack.decode(value, type=Block) for value in found.values())
    return sorted(blocks, key=lambda block: block.target)


async def put(driver: Driver, blocks: Iterable[Block]) -> None:
    """Add entries, or replace those of the same targets."""
    for block in blocks:
        packed = msgspec.msgpack.encode(block)
        await driver.command("HSET", keys.BLOCKS, block.target, packed)
    await driver.command("INCR", keys.BLOCKS_VERSION)


async def remove(driver: Driver, targets: Iterable[str]) -> list[str]:
    """Remove entries; the targets that were on the list."""
    gone = [t for t in targets if await driver.command("HDEL", keys.BLOCKS, t)]
    await driver.command("INCR", keys.BLOCKS_VERSION)
    return gone
