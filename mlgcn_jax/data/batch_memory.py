"""Memory of batches, used again once nobody holds the batch that lay in it.

The system clears each new page and hands them back one by one, which costs up to half
as much as decoding the images of a batch.
"""

import collections
import weakref

import numpy as np
from jaxtyping import UInt8


class BatchMemory:
    """Gives out uint8 arrays of one shape, from any thread."""

    def __init__(self, shape: tuple[int, ...]):
        """Allocates nothing yet."""
        self._shape = shape
        self._free: collections.deque[np.ndarray] = collections.deque()

    def take(self) -> UInt8[np.ndarray, "..."]:
        """Returns an array with any content; views of it keep its memory too.

        So does JAX, which on a CPU may compute with the array itself, not a copy.
        """
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, np.uint8)
        # Through the buffer protocol, as views refer to `lent` and not to `memory`
        # then: `lent` ends with the last of them.
        lent = np.frombuffer(memory.data, np.uint8)
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return lent.reshape(self._shape)
