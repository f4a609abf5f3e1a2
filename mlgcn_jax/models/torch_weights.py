"""Names and layouts of PyTorch's weights <-> our variables; torch is not needed.

Read are torchvision's DenseNet and ResNet with today's names and with those of before
2018 (`norm.1`), and whole models of ML-GCN (Chen et al., arXiv:1904.03582), whose
backbone is numbered (`features.4.0.conv1.weight`). Written are torchvision's names of
today, with ML-GCN's for the head: `gc1.weight`, `gc2.weight`.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
# ML-GCN puts the children of a ResNet into an nn.Sequential, ReLU (2) and pooling (3)
# among them.
_NUMBERED = {"0": "conv1", "1": "bn1"} | {str(i + 3): f"layer{i}" for i in range(1, 5)}
_LEFT_OUT = {
    r"\.num_batches_tracked$": "not needed",
    r"^A$": "the run has a label graph of its own",
    r"^(classifier|fc|gc1|gc2)\.": "does not fit the head",
    r"^embeddings$": "does not fit the head",
}
_SHOWN = 3


class Report(NamedTuple):
    """What became of every tensor of a file.

    Attributes:
        used: names of those that are used.
        left_out: name -> why, of those that are not.
        missing: names that the head needed and the file lacks, or has in another
            shape; where there is one, the head is left as it was initialised.
    """

    used: list[str]
    left_out: dict[str, str]
    missing: list[str]


def to_torch(
    params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Returns the variables of a model as PyTorch names and lays them out, float32.

    `num_batches_tracked` is not among them; `load_state_dict` does without.
    """
    flat = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(batch_stats)
    classifier = _classifier(params)
    return {
        _name(path, classifier): _swap_layout(np.asarray(value, np.float32), "torch")
        for path, value in flat.items()
    }


def from_torch(
    tensors: Mapping[str, np.ndarray],
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], Report]:
    """Returns parameters and running statistics from PyTorch's, float32, and a report.

    The whole backbone must be there. The head is taken if all of it is there, else it
    is left as it was initialised.

    Args:
        tensors: PyTorch's name -> array in PyTorch's layout.
        params: initialised parameters; they say what is needed.
        batch_stats: running statistics, likewise.

    Raises:
        ValueError: a tensor of the backbone is missing, has another shape, or there is
            one that no part of the model has.
    """
    found = {_name_of_today(name): name for name in tensors}
    if len(found) < len(tensors):
        raise ValueError("several tensors have the same name in old and new form")
    ours = traverse_util.flatten_dict({"params": params, "batch_stats": batch_stats})
    classifier = _classifier(params)
    paths = {_name(path[1:], classifier): path for path in ours}
    shapes = {
        name: jax.eval_shape(lambda x: _swap_layout(x, "torch"), ours[path]).shape
        for name, path in paths.items()
    }

    backbone = [name for name, path in paths.items() if path[1] == "backbone"]
    head = [name for name in paths if name not in backbone]
    faults = [
        fault for name in backbone if (fault := _fault(name, found, tensors, shapes))
    ]
    missing = [name for name in head if _fault(name, found, tensors, shapes)]
    used = backbone if missing else list(paths)
    left_out = {
        original: _why_left_out(name)
        for name, original in found.items()
        if name not in used
    }
    faults += [f"{name} is unknown" for name, why in left_out.items() if not why]
    if faults:
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ValueError(
            f"not the weights of this backbone: {'; '.join(faults[:_SHOWN])}{more}; "
            "set config.model.backbone to the one that they are of"
        )
    new = {
        paths[name]: _swap_layout(tensors[found[name]].astype(np.float32), "ours")
        for name in used
    }
    variables = traverse_util.unflatten_dict(ours | new)
    report = Report(
        used=[found[name] for name in used],
        left_out={name: why for name, why in left_out.items() if why},
        missing=missing,
    )
    return variables["params"], variables["batch_stats"], report


def _classifier(params: Mapping[str, Any]) -> str:
    """Returns torchvision's name of the last linear layer."""
    return "classifier" if "features" in params["backbone"] else "fc"


def _name(path: tuple[str, ...], classifier: str) -> str:
    part, *modules, leaf = path
    if part == "head" and leaf == "embeddings":
        return leaf
    if part == "head" and not modules:
        modules = [classifier]
    return ".".join([*modules, _LEAVES[leaf]])


def _name_of_today(name: str) -> str:
    name = name.removeprefix("module.")  # of nn.DataParallel
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)
    numbered = re.match(r"features\.(\d)\.", name)
    if numbered and numbered[1] in _NUMBERED:
        return f"{_NUMBERED[numbered[1]]}.{name[numbered.end() :]}"
    return name


def _swap_layout(kernel: Any, target: str) -> Any:
    """Returns a convolution's kernel in the other layout, all else as it is."""
    if kernel.ndim != 4:
        return kernel
    # ours [h, w, in, out], PyTorch's [out, in, h, w]
    return kernel.transpose((3, 2, 0, 1) if target == "torch" else (2, 3, 1, 0))


def _fault(
    name: str,
    found: Mapping[str, str],
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> str | None:
    if name not in found:
        return f"{name} is missing"
    shape = tensors[found[name]].shape
    if shape != shapes[name]:
        return f"{found[name]} has the shape {shape}, expected {shapes[name]}"
    return None


def _why_left_out(name: str) -> str | None:
    return next((why for part, why in _LEFT_OUT.items() if re.search(part, name)), None)
