"""Names and layouts of PyTorch's weights <-> our variables; torch is not needed.

Read are torchvision's DenseNet and ResNet with today's names and with those of before
2018 (`norm.1`), and whole models of ML-GCN (Chen et al., arXiv:1904.03582), whose
backbone is numbered (`features.4.0.conv1.weight`). Written are torchvision's names of
today, with ML-GCN's for the head: `gc1.weight`, `gc2.weight`.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

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
        _name(path, classifier): _to_torch_layout(np.asarray(value, np.float32))
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
    in_head = {name for name, path in paths.items() if path[1] == "head"}

    faults = {
        name: fault
        for name, path in paths.items()
        if (fault := _fault(name, tensors.get(found.get(name, "")), ours[path]))
    }
    missing = [name for name in faults if name in in_head]
    used = [name for name in paths if not missing or name not in in_head]
    left_out = {found[name]: _why_left_out(name) for name in found.keys() - set(used)}
    _check_is_of_backbone(
        [fault for name, fault in faults.items() if name not in in_head]
        + [f"{name} is unknown" for name, why in left_out.items() if not why]
    )

    new = {
        paths[name]: _to_our_layout(tensors[found[name]].astype(np.float32))
        for name in used
    }
    variables = traverse_util.unflatten_dict(ours | new)
    report = Report(
        used=[found[name] for name in used],
        left_out={name: why for name, why in sorted(left_out.items()) if why},
        missing=missing,
    )
    return variables["params"], variables["batch_stats"], report


def _check_is_of_backbone(faults: list[str]) -> None:
    if not faults:
        return
    more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    raise ValueError(
        f"not the weights of this backbone: {'; '.join(faults[:_SHOWN])}{more}; "
        "set config.model.backbone to the one that they are of"
    )


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


def _to_torch_layout(x: np.ndarray) -> np.ndarray:
    # of convolutions alone: [h, w, in, out] -> [out, in, h, w]
    return x.transpose(3, 2, 0, 1) if x.ndim == 4 else x


def _to_our_layout(x: np.ndarray) -> np.ndarray:
    # of convolutions alone: [out, in, h, w] -> [h, w, in, out]
    return x.transpose(2, 3, 1, 0) if x.ndim == 4 else x


def _fault(name: str, tensor: np.ndarray | None, ours: Any) -> str | None:
    """Returns what keeps a tensor from taking the place of one of ours."""
    if tensor is None:
        return f"{name} is missing"
    expected = _to_torch_layout(np.asarray(ours)).shape
    if tensor.shape != expected:
        return f"{name} has the shape {tensor.shape}, expected {expected}"
    return None


def _why_left_out(name: str) -> str | None:
    return next((why for part, why in _LEFT_OUT.items() if re.search(part, name)), None)
