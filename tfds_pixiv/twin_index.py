"""Finds the twins of pictures among many, in time that grows only as their number.

The pictures are sorted many times over, by the bits of their hash in ever other orders
(Charikar, 2002: similar hashes begin alike in some of them), and a picture is compared
with its nearest neighbours in each: with no more, however many are alike.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int64, Shaped, UInt64

from tfds_pixiv import fingerprints

# Two hashes, because a hash by frequencies is chance where a picture has few of them (a
# flag), and one by brightness says little of drawings on white.
_NUM_ORDERS_BY_HASH = (22, 10)
_MAX_DISTANCES = (20, 4)  # of 64 bits
_BITS = tuple(
    64 * hash_number + np.random.default_rng(n).permutation(64)[:48]
    for hash_number, number in enumerate(_NUM_ORDERS_BY_HASH)
    for n in range(number)
)
# Directions in colour space, for pictures that differ in nothing else.
_DIRECTIONS = np.random.default_rng(0).normal(size=(len(_BITS), 3)).astype(np.float32)
_DIRECTIONS /= np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True)
_NUM_ORDERS = 1 + len(_BITS)  # the first is by content
_OFFSETS = np.arange(-4, 4)  # of the neighbours that are looked at
# Of the orders: by content, by a few hashes, by all the others.
_ROUNDS = (range(0, 1), range(1, 3), range(3, _NUM_ORDERS))
_QUERIES_AT_ONCE = 256  # bounds the memory: each may have 264 candidates


class TwinIndex:
    """Pictures among which twins are looked for; 412 bytes for each."""

    def __init__(self, prints: Shaped[np.ndarray, " n"]):
        """Sorts the fingerprints, which are kept and not copied."""
        self._prints = prints
        # Those of one colour are nobody's twins, and would only stand in the way.
        (members,) = np.nonzero(~prints["is_one_colour"])
        self._hashes = np.ascontiguousarray(prints["hashes"])
        self._orders = []
        for keys in _keys(prints, range(_NUM_ORDERS)):
            order = members[np.argsort(keys[members], kind="stable")]
            self._orders.append((keys[order], order.astype(np.int32)))

    def find(
        self, queries: Shaped[np.ndarray, " m"]
    ) -> tuple[Int64[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Returns for each picture the place of its twin, or -1, and the difference.

        Of several twins it is one that differs little, not always the least.
        """
        return self._find(queries, np.full(len(queries), len(self._prints)))

    def find_earlier(self) -> tuple[Int64[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Returns for each picture of the index a twin before it, as `find` does."""
        return self._find(self._prints, np.arange(len(self._prints)))

    def _find(
        self, queries: Shaped[np.ndarray, " m"], before: Int64[np.ndarray, " m"]
    ) -> tuple[Int64[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        twins = np.full(len(queries), -1)
        differences = np.full(len(queries), np.inf)
        if not len(self._orders[0][0]):
            return twins, differences
        for orders in _ROUNDS:
            # Whoever has a twin is done: a thousand copies cost a comparison each.
            (left,) = np.nonzero(twins < 0)
            for start in range(0, len(left), _QUERIES_AT_ONCE):
                chosen = left[start : start + _QUERIES_AT_ONCE]
                candidates = self._candidates(queries[chosen], before[chosen], orders)
                rows, columns = np.nonzero(candidates >= 0)
                query, twin = chosen[rows], candidates[rows, columns]
                found = fingerprints.differences(queries[query], self._prints[twin])
                # Written from the greatest to the least, so that the least stays.
                falling = np.lexsort((twin, found))[::-1]
                falling = falling[np.isfinite(found[falling])]
                twins[query[falling]] = twin[falling]
                differences[query[falling]] = found[falling]
        return twins, differences

    def _candidates(
        self,
        queries: Shaped[np.ndarray, " m"],
        before: Int64[np.ndarray, " m"],
        orders: range,
    ) -> Int64[np.ndarray, "m c"]:
        """Returns the neighbours in these orders whose hash is near, others as -1."""
        found = []
        for number, query_keys in zip(orders, _keys(queries, orders), strict=True):
            keys, positions = self._orders[number]
            places = np.searchsorted(keys, query_keys)[:, None] + _OFFSETS
            exists = (places >= 0) & (places < len(keys))
            found.append(np.where(exists, positions.take(places, mode="clip"), -1))
        candidates = np.sort(np.concatenate(found, axis=1), axis=1)
        distances = np.bitwise_count(
            queries["hashes"][:, None] ^ self._hashes[candidates]
        )
        is_repeated = np.diff(candidates, axis=1, prepend=-1) == 0
        is_useless = (distances > _MAX_DISTANCES).all(-1)
        is_useless |= is_repeated | (candidates >= before[:, None])
        return np.where(is_useless, -1, candidates)


def _keys(
    prints: Shaped[np.ndarray, " n"], orders: range
) -> Iterator[UInt64[np.ndarray, " n"]]:
    """Yields what the pictures are sorted by in each of these orders.

    That is the content, or 48 bits of a hash and then the mean colour along a
    direction, because pictures of other colours may have the same hash.
    """
    bits = np.unpackbits(prints["hashes"].view(np.uint8), axis=1)
    for number in orders:
        if number == 0:
            yield prints["content"]
            continue
        ordered = np.zeros((len(prints), 8), np.uint8)
        ordered[:, :6] = np.packbits(bits[:, _BITS[number - 1]], axis=1)
        shade = 64 * (512 + prints["colour"] @ _DIRECTIONS[number - 1])  # in 16 bits
        yield ordered.view(">u8")[:, 0].astype(np.uint64) + shade.astype(np.uint64)
