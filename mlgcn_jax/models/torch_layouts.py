"""How PyTorch calls and lays out the variables of each kind of module.

Said by the kind of the module and never guessed from a shape: a convolution of one by
one pixel, a linear layer and a classifier hold matrices of three layouts.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from mlgcn_jax.models import (
    block_layers,
    convnext,
    densenet,
    graph_convolution,
    layers,
    resnet,
    vit,
)
from mlgcn_jax.models.heads import gcn, linear
from mlgcn_jax.models.torch_leaf import Leaf

Path = tuple[Any, ...]  # names of attributes, numbers in lists


class Tensor(NamedTuple):
    """A variable of a model: PyTorch's name with that of its modules, axes and fit."""

    name: str
    axes: tuple[int, ...] | None
    fit: Callable[[np.ndarray], np.ndarray] | None

    def to_torch(self, x: np.ndarray) -> np.ndarray:
        """Returns our array in PyTorch's layout."""
        return x if self.axes is None else x.transpose(self.axes)

    def to_ours(self, x: np.ndarray) -> np.ndarray:
        """Returns PyTorch's array in our layout."""
        return x if self.axes is None else x.transpose(np.argsort(self.axes))


_CONVOLUTION = Leaf("weight", axes=(3, 2, 0, 1))  # [h, w, in, out] -> [out, in, h, w]
_LINEAR = Leaf("weight", axes=(1, 0))  # [in, out] -> [out, in]
_NORM = {"scale": Leaf("weight"), "bias": Leaf("bias")}
_RUNNING = {"mean": Leaf("running_mean"), "var": Leaf("running_var")}

# Kind of module -> its variables. Other modules have them as `torch_leaves`.
LEAVES: dict[type, Mapping[str, Leaf]] = {
    layers.Convolution: {"kernel": _CONVOLUTION},
    layers.BatchNorm: _NORM | _RUNNING,
    block_layers.PatchConvolution: {"kernel": _CONVOLUTION, "bias": Leaf("bias")},
    block_layers.DepthwiseConvolution: {"kernel": _CONVOLUTION, "bias": Leaf("bias")},
    block_layers.Linear: {"kernel": _LINEAR, "bias": Leaf("bias")},
    block_layers.LayerNorm: _NORM,
    convnext.Block: {"gamma": Leaf("gamma")},
    vit.ViT: {
        "cls_token": Leaf("cls_token"),
        "pos_embed": Leaf("pos_embed", fit=vit.ViT.fit_positions),
    },
    # [in, out] in ML-GCN too, which multiplies from the right.
    graph_convolution.GraphConvolution: {"kernel": Leaf("weight")},
    gcn.GCNHead: {"embeddings": Leaf("embeddings")},
    linear.LinearHead: {"kernel": Leaf("weight"), "bias": Leaf("bias")},  # [l, d]
    nnx.Linear: {"kernel": _LINEAR, "bias": Leaf("bias")},
    nnx.LayerNorm: _NORM,
    nnx.Embed: {"embedding": Leaf("weight")},
}
# Backbone -> what its authors call the linear layer behind it.
_CLASSIFIERS: dict[type, str] = {
    densenet.DenseNet: "classifier",
    resnet.ResNet: "fc",
    convnext.ConvNeXt: "head.fc",
    vit.ViT: "head",
}
OTHER_CLASSIFIER = "fc"
CLASSIFIERS = frozenset({*_CLASSIFIERS.values(), OTHER_CLASSIFIER})


def classifier_of(model: Any) -> str:
    """Returns PyTorch's name of a linear head on the backbone of this model."""
    return _CLASSIFIERS.get(type(model.backbone), OTHER_CLASSIFIER)


def tensors_of(model: nnx.Module) -> dict[Path, Tensor]:
    """Returns path of a variable -> what it is in PyTorch, of all of a model.

    Args:
        model: with `backbone` and `head`; its structure alone will do.

    Raises:
        ValueError: nobody has said how a module's variable is laid out, or two have the
            same name. The message has them.
    """
    found = {}
    for path, module in nnx.iter_modules(model):
        for name, value in vars(module).items():
            if isinstance(value, nnx.Variable):
                leaf = _leaf(module, (*path, name))
                modules = _modules(model, path, module)
                tensor_name = ".".join([*modules, leaf.name])
                fit = leaf.fit and _bind(leaf.fit, module)
                found[(*path, name)] = Tensor(tensor_name, leaf.axes, fit)
    by_name: dict[str, Path] = {}
    for path, tensor in found.items():
        if (other := by_name.setdefault(tensor.name, path)) != path:
            raise ValueError(
                f"{_shown(other)} and {_shown(path)} would both be {tensor.name} in "
                "PyTorch; rename a module of the head"
            )
    return found


def _leaf(module: nnx.Module, path: Path) -> Leaf:
    for kind in type(module).__mro__:
        leaves = LEAVES.get(kind) or vars(kind).get("torch_leaves", {})
        if path[-1] in leaves:
            return leaves[path[-1]]
    raise ValueError(
        f"{_shown(path)}: nobody has said how PyTorch lays out this variable of a "
        f"{type(module).__name__}; give the class `torch_leaves`, see "
        "models/torch_layouts.py"
    )


def _modules(model: nnx.Module, path: Path, module: nnx.Module) -> list[str]:
    """Returns PyTorch's names of the modules that a variable is in."""
    if isinstance(module, linear.LinearHead):
        return [classifier_of(model)]
    return [str(part) for part in path[1:]]  # backbone and head are no names there


def _bind(
    fit: Callable[[Any, np.ndarray], np.ndarray], module: nnx.Module
) -> Callable[[np.ndarray], np.ndarray]:
    return lambda tensor: fit(module, tensor)


def _shown(path: Path) -> str:
    return "/".join(str(part) for part in path)
