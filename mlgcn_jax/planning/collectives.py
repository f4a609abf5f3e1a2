"""Messages between chips: those of a compiled program, and how long they take."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from mlgcn_jax.planning import chips


class Collective(NamedTuple):
    """One operation in which chips exchange arrays.

    Attributes:
        kind: its name in HLO.
        num_bytes: of its result on each chip.
        group_size: how many chips exchange among themselves; None: all of them.
    """

    kind: str
    num_bytes: int
    group_size: int | None


class _Share(NamedTuple):
    """Parts of the result that a chip sends at least, in a group of n chips.

    Attributes:
        links: over all of its links, n -> share.
        network: out of its host by its own card, of h hosts of g chips: h, g -> share.
            First the chips of a host make one of what they have, where they can.
    """

    links: Callable[[int], float]
    network: Callable[[int, int], float]


_SHARES = {
    "all-gather": _Share(lambda n: (n - 1) / n, lambda h, g: (h - 1) / h / g),
    "all-reduce": _Share(lambda n: 2 * (n - 1) / n, lambda h, g: 2 * (h - 1) / h / g),
    "all-to-all": _Share(lambda n: (n - 1) / n, lambda h, g: (h - 1) / h),
    "collective-broadcast": _Share(lambda n: 1.0, lambda h, g: 1.0),
    "collective-permute": _Share(lambda n: 1.0, lambda h, g: 1.0),
    "reduce-scatter": _Share(lambda n: n - 1.0, lambda h, g: h - 1.0),
}

# `%name = SHAPE all-reduce(OPERANDS), ATTRIBUTES`. An asynchronous one is a pair, start
# and done: SHAPE of the end is that of the result alone, the start has the groups.
_INSTRUCTION = re.compile(
    rf"%?([\w.-]+) = (.*?) ({'|'.join(_SHARES)})(-start|-done)?\((.*)"
)
_OPERAND = re.compile(r"%?([\w.-]+)\)")
# Groups are listed ({{0,1},{2,3}}), counted ([2,4]<=[8]: two of four), or the axes of a
# mesh, or parts of them: mesh['a'=2,'b'=4] {'b'}, {'a','b':(1)2}.
_GROUPS = re.compile(
    r"replica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\]<=|mesh\[(.*?)\] ?\{(.*?)\})"
)
_AXIS = re.compile(r"'(\w+)'=(\d+)")
_CHOSEN = re.compile(r"'(\w+)'(?::\(\d+\)(\d+))?")
_ARRAY = re.compile(r"\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")  # f32[2,3], pred[2]


def in_program(hlo: str) -> tuple[Collective, ...]:
    """Returns the collectives in a program's text; one in a loop counts once."""
    found = []
    started: dict[str, int | None] = {}  # name of a start -> size of its groups
    for name, shape, kind, part, rest in _INSTRUCTION.findall(hlo):
        if part == "-start":
            started[name] = _group_size(rest)
            continue
        if part == "-done":
            operand = _OPERAND.search(rest)
            group_size = started.get(operand[1]) if operand else None
        else:
            group_size = _group_size(rest)
        found.append(Collective(kind, _num_bytes(shape), group_size))
    return tuple(found)


def seconds(collective: Collective, topology: chips.Topology) -> float:
    """Returns the least time that it takes: bytes over bandwidth, without latency.

    Every link of a chip carries its part, in the order that sends least, and the
    network between hosts at the same time. The chips of a group that is no larger than
    a host are taken to be of one.
    """
    chip, share = topology.chip, _SHARES[collective.kind]
    size = collective.group_size or topology.num_chips
    if size == 1:
        return 0.0
    links_s = share.links(size) * collective.num_bytes / chip.link_bytes_per_s
    if chip.network_bytes_per_s is None or size <= topology.chips_per_host:
        return links_s
    num_hosts = size // topology.chips_per_host
    sent = share.network(num_hosts, topology.chips_per_host) * collective.num_bytes
    return max(links_s, sent / chip.network_bytes_per_s)


def _group_size(attributes: str) -> int | None:
    groups = _GROUPS.search(attributes)
    if groups is None:
        return None
    listed, counted, axes, chosen = groups.groups()
    if listed:
        return len(listed.split(","))
    if counted:
        return int(counted)
    sizes = dict(_AXIS.findall(axes))
    return math.prod(int(part or sizes[name]) for name, part in _CHOSEN.findall(chosen))


def _num_bytes(shape: str) -> int:
    """Of an array `f32[2,3]{1,0}`, or of a tuple of them."""
    total = 0
    for digits, sizes in _ARRAY.findall(shape):
        bits = int(digits or 8)
        for size in filter(None, sizes.split(",")):
            bits *= int(size)
        total += -(-bits // 8)
    return total
