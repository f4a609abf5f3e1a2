"""Names and layouts of PyTorch's weights <-> our variables; torch is not needed.

Read are torchvision's DenseNet and ResNet, which are timm's too, with today's names
and with those of before 2018 (`norm.1`), timm's ConvNeXt and ViT, and whole models of
ML-GCN (Chen et al., arXiv:1904.03582), whose backbone is numbered
(`features.4.0.conv1.weight`), under whatever prefix they are (`torch_names`). Written
are the names of today (`torch_layouts`), with ML-GCN's for the head: `gc1.weight`,
`gc2.weight`.
"""

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from mlgcn_jax.models import torch_layouts, torch_names

_CLASSIFIERS = "|".join(re.escape(name) for name in sorted(torch_layouts.CLASSIFIERS))
_LEFT_OUT = {
    r"\.num_batches_tracked$": "not needed",
    r"^A$": "the run has a label graph of its own",
    rf"^({_CLASSIFIERS})\.(weight|bias)$": "does not fit the head",
    r"^gc[12]\.": "does not fit the head",
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
    params: Mapping[str, Any], batch_stats: Mapping[str, Any], *, model: nnx.Module
) -> dict[str, np.ndarray]:
    """Returns the variables of a model as PyTorch names and lays them out, float32.

    `num_batches_tracked` is not among them; `load_state_dict` does without.

    Args:
        params: parameters, or something like them (gradients); all or some.
        batch_stats: running statistics, likewise.
        model: whose they are, or its structure: it says names and layouts.

    Raises:
        ValueError: a variable of which nobody has said how PyTorch lays it out.
    """
    flat = traverse_util.flatten_dict(params) | traverse_util.flatten_dict(batch_stats)
    known = torch_layouts.tensors_of(model)
    return {
        known[path].name: known[path].to_torch(np.asarray(value, np.float32))
        for path, value in flat.items()
    }


def from_torch(
    tensors: Mapping[str, np.ndarray],
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    *,
    model: nnx.Module,
) -> tuple[dict[str, Any], dict[str, Any], Report]:
    """Returns parameters and running statistics from PyTorch's, float32, and a report.

    The whole backbone must be there, under one prefix. The head is taken if all of it
    is there, beside the backbone or around it, else it is left as it was initialised.
    Embeddings of the positions in another grid are resampled.

    Args:
        tensors: PyTorch's name -> array in PyTorch's layout.
        params: initialised parameters; they say what is needed.
        batch_stats: running statistics, likewise; {} where there are none.
        model: whose they are, or its structure: it says names and layouts.

    Raises:
        ValueError: a tensor of the backbone is missing, has another shape, or there is
            one beside it that no part of the model has; the backbone is there more
            than once; values are not real and finite. The message has the names.
    """
    ours = traverse_util.flatten_dict({"params": params, "batch_stats": batch_stats})
    known = torch_layouts.tensors_of(model)
    paths = {known[path[1:]].name: path for path in ours}
    kinds = {name: known[path[1:]] for name, path in paths.items()}
    expected = {
        name: kinds[name].to_torch(np.asarray(ours[path])).shape
        for name, path in paths.items()
    }
    in_head = [name for name, path in paths.items() if path[1] == "head"]
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    place = _find_backbone(shapes, expected, in_head)
    found = {
        name: place.inside_or_around(name)
        if name in in_head
        else place.inside(_inner(name))
        for name in expected
    }

    tensors = dict(tensors)
    for name, kind in kinds.items():
        tensor = tensors.get(found[name])
        if kind.fit and tensor is not None and tensor.shape != expected[name]:
            tensors[found[name]] = _fitted(found[name], tensor, kind)
            shapes[found[name]] = tensors[found[name]].shape
    faults = {
        name: fault
        for name, shape in expected.items()
        if (fault := _fault(found[name], shapes.get(found[name]), shape))
    }
    missing = [name for name in faults if name in in_head]
    used = [name for name in paths if not missing or name not in in_head]
    unused = tensors.keys() - {found[name] for name in used}
    left_out = _why_left_out(unused, place)
    _check_is_of_backbone(
        [fault for name, fault in faults.items() if name not in in_head]
        + [f"{name} is unknown" for name in sorted(unused - left_out.keys())],
        unused,
    )

    new = {
        paths[name]: kinds[name].to_ours(_float32(found[name], tensors[found[name]]))
        for name in used
    }
    variables = traverse_util.unflatten_dict(ours | new)
    report = Report(
        used=[found[name] for name in used],
        left_out=dict(sorted(left_out.items())),
        missing=missing,
    )
    return variables["params"], variables.get("batch_stats", {}), report


def _find_backbone(
    shapes: Mapping[str, torch_names.Shape],
    expected: Mapping[str, torch_names.Shape],
    in_head: Collection[str],
) -> torch_names.Place:
    """Returns where the backbone is, by the names of it that are there."""
    inner = {_inner(x): shape for x, shape in expected.items() if x not in in_head}
    place = torch_names.find(shapes, inner)
    if place is None:
        raise ValueError(
            "it lacks most of this backbone's names, whatever is before them: found "
            f"{torch_names.shown(shapes)}, expected {torch_names.shown(expected)}"
        )
    return place


def _inner(name: str) -> str:
    """Returns a name without what a DenseNet has before all of its backbone's."""
    return name.removeprefix("features.")


def _check_is_of_backbone(faults: list[str], unused: Collection[str]) -> None:
    if not faults:
        return
    more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    there = f" (not used: {torch_names.shown(sorted(unused))})" if unused else ""
    raise ValueError(
        f"not the weights of this backbone: {'; '.join(faults[:_SHOWN])}{more}{there}"
    )


def _fitted(name: str, tensor: np.ndarray, kind: torch_layouts.Tensor) -> np.ndarray:
    """Returns a tensor of another shape as the model needs it, if there is a way."""
    assert kind.fit is not None
    if tensor.ndim != 3:  # told with the other shapes
        return tensor
    try:
        return kind.fit(_float32(name, tensor))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _float32(name: str, tensor: np.ndarray) -> np.ndarray:
    """Returns the values of a tensor; raises ValueError where it has no such ones."""
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        raise ValueError(f"{name} has the dtype {tensor.dtype}, expected real numbers")
    with np.errstate(over="ignore"):  # told below
        values = tensor.astype(np.float32)
    if (count := np.count_nonzero(~np.isfinite(values))) > 0:
        raise ValueError(
            f"{name} has {count} of {values.size} values that are not finite as "
            "float32; the training that it is of has diverged, or the file is damaged"
        )
    return values


def _fault(
    name: str, shape: torch_names.Shape | None, expected: torch_names.Shape
) -> str | None:
    """Returns what keeps a tensor from taking the place of one of ours."""
    if shape is None:
        return f"{name} is missing"
    if shape != expected:
        return f"{name} has the shape {shape}, expected {expected}"
    return None


def _why_left_out(unused: Collection[str], place: torch_names.Place) -> dict[str, str]:
    """Returns tensor -> why it is not used, of those of which that is known.

    What is beside a backbone under a prefix is no business of ours; in its midst it
    shows that this is another backbone.
    """
    spellings = place.spellings()
    inside = set(itertools.chain.from_iterable(place.names.values()))
    left_out = {}
    for name in unused:
        spelled = [name, *spellings.get(name, [])]
        reasons = (
            why
            for part, why in _LEFT_OUT.items()
            if any(re.search(part, x) for x in spelled)
        )
        otherwise = None if name in inside else f"not under {place.prefix}"
        if reason := next(reasons, otherwise):
            left_out[name] = reason
    return left_out
