"""What a variable of a module is in PyTorch; `torch_layouts` knows that of ours."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Leaf(NamedTuple):
    """A variable of a module; a class says its own as `torch_leaves`, by name.

    Attributes:
        name: what PyTorch calls it.
        axes: of ours, in PyTorch's order; None: the same order.
        fit: (module, tensor in PyTorch's layout) -> the same in the shape that this
            module needs, where tensors of other shapes can be made to fit.
    """

    name: str
    axes: tuple[int, ...] | None = None
    fit: Callable[[Any, np.ndarray], np.ndarray] | None = None
