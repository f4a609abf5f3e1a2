"""Where in a file of PyTorch's tensors a network is, and how it spells the names.

`nn.DataParallel`, `torch.compile`, Lightning and training scripts put something before
the names of a network (`module.`, `_orig_mod.`, `model.`, `state_dict.`, one after
another), and may wrap parts of it. No list could hold all of them: the prefix is the
one under which the names of the network are.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Shape = tuple[int, ...]

# What PyTorch puts before the names of a module that it wraps, wherever that is.
_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
# ML-GCN puts the children of a ResNet into an nn.Sequential, ReLU (2) and pooling (3)
# among them.
_NUMBERED = {"0": "conv1", "1": "bn1"} | {str(i + 3): f"layer{i}" for i in range(1, 5)}
_SHOWN = 3


class Place(NamedTuple):
    """A network in a file.

    Attributes:
        prefix: what stands before its names, "" or with a dot at its end.
        names: name of today, without the prefix -> names in the file that mean it; of
            all that is under the prefix.
        around: the same of each shorter prefix, nearest first: what is beside it.
    """

    prefix: str
    names: dict[str, list[str]]
    around: list[dict[str, list[str]]]

    def inside(self, name: str) -> str:
        """Returns the name in the file, or the one that it would have.

        Raises:
            ValueError: there are several that mean it.
        """
        return _only(self.names.get(name, [f"{self.prefix}{name}"]))

    def inside_or_around(self, name: str) -> str:
        """Returns the name in the file nearest to the network, or the bare one."""
        for names in (self.names, *self.around):
            if name in names:
                return _only(names[name])
        return name

    def spellings(self) -> dict[str, list[str]]:
        """Returns name in the file -> names of today under each of the prefixes."""
        spelled: dict[str, list[str]] = {}
        for names in (self.names, *self.around):
            for name, in_file in names.items():
                for key in in_file:
                    spelled.setdefault(key, []).append(name)
        return spelled


def find(shapes: Mapping[str, Shape], expected: Mapping[str, Shape]) -> Place | None:
    """Returns where the expected tensors are, or most of them; None for no such place.

    Args:
        shapes: of all tensors of the file, by name.
        expected: those of the network, by torchvision's names of today.

    Raises:
        ValueError: all are there more than once.
    """
    found = _by_prefix(shapes)

    def num_fitting(prefix: str) -> tuple[int, int]:
        names = found[prefix]
        there = expected.keys() & names.keys()
        fitting = (shapes[names[name][0]] == expected[name] for name in there)
        return sum(fitting), len(there)

    counts = {prefix: num_fitting(prefix) for prefix in found}
    best = max(counts.values(), default=(0, 0))
    if best[1] < len(expected) / 2:  # a name here and there is chance
        return None
    places = sorted((prefix for prefix in found if counts[prefix] == best), key=len)
    if len(places) > 1 and best[0] == len(expected):
        raise ValueError(
            f"the network is there {len(places)} times, with names that begin with "
            f"{' and with '.join(places[:_SHOWN])}; leave the one that is meant in "
            "the file"
        )
    prefix = places[0]
    parts = prefix.split(".")[:-1]
    shorter = ["".join(f"{part}." for part in parts[:n]) for n in range(len(parts))]
    around = [found.get(name, {}) for name in reversed(shorter)]
    return Place(prefix, found[prefix], around)


def shown(names: Iterable[str]) -> str:
    """Returns the first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _by_prefix(names: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Returns prefix -> name of today under it -> names in the file that mean it."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        parts = name.split(".")
        for depth, part in enumerate(parts):
            if part in _WRAPPERS:  # then it belongs to the prefix
                continue
            prefix = "".join(f"{part}." for part in parts[:depth])
            under = found.setdefault(prefix, {})
            under.setdefault(_name_of_today(parts[depth:]), []).append(name)
    return found


def _name_of_today(parts: list[str]) -> str:
    first, *rest = [part for part in parts if part not in _WRAPPERS] or parts
    name = ".".join([_NUMBERED.get(first, first), *rest])
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def _only(names: list[str]) -> str:
    if len(names) > 1:
        raise ValueError(
            f"{' and '.join(names[:_SHOWN])} mean the same tensor; leave the one that "
            "is meant in the file"
        )
    return names[0]
