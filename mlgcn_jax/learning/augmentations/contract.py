"""What an augmentation is: the door for new ones, of this project or another.

    Batch, key -> Batch

A batch is a dict of arrays:

    image   uint8 [b, h, w, 3]   letterboxed: the picture is centred on a square
    labels  float32 [b, l]       1, 0, between them where pictures were mixed, or -1
                                 where it is not known whether the image has the label
    size    int32 [b, 2]         height and width of the picture, in px; around it is
                                 the border, of one colour

An augmentation returns a batch of the same shapes and types, and draws what is random
from the key alone, in shapes that do not depend on the devices: a run that goes on then
sees what it would have seen. It runs inside `jax.jit`, over the whole batch.
"""

from collections.abc import Callable

import jax

Batch = dict[str, jax.Array]
Augmentation = Callable[[Batch, jax.Array], Batch]
