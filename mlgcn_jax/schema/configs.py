"""Configs by the rows of `keys`: the default, a checked one, that of an older run."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_collections

from mlgcn_jax.data import config_dict
from mlgcn_jax.schema import keys


def default() -> config_dict.ConfigDict:
    """Returns a config in which every key has its default."""
    return ml_collections.ConfigDict(
        _nested({name: key.option.default for name, key in keys.KEYS.items()})
    )


def check(config: config_dict.ConfigDict) -> None:
    """Checks that one dataset is named, and every value by its row.

    Raises:
        ValueError: one is out of its range; the message has the range.
    """
    if not config.data_dir:
        raise ValueError(
            "config.data_dir is not set; give --config.data_dir=DIR, what "
            "`mlgcn build --data_dir=DIR` wrote"
        )
    check_values(config)
    if config.dataset and config.build.source:
        raise ValueError(
            f"config.build.source={config.build.source} builds no dataset "
            f"{config.dataset!r}; leave it out, or config.dataset"
        )


def check_values(config: config_dict.ConfigDict) -> None:
    """Checks every value by its row.

    Raises:
        ValueError: one is out of its range; the message has the range.
    """
    for name, key in keys.KEYS.items():
        key.option.check(f"config.{name}", operator.attrgetter(name)(config))


def upgrade(written: Mapping[str, Any]) -> config_dict.ConfigDict:
    """Returns the config of a run of any age, with every key of today, locked.

    Keys that it lacks say what the run did without them.
    """
    before = {name: key.before for name, key in keys.KEYS.items() if key.is_added}
    filled = _filled(_nested(before), _with_tuples(written))
    return ml_collections.ConfigDict(filled).lock()


class OfOther(NamedTuple):
    """An option of what a config does not choose.

    Attributes:
        name: its key.
        default: its default.
        choice: the key that chooses.
        chosen: what it chooses.
        owner: what has the option.
    """

    name: str
    default: Any
    choice: str
    chosen: str
    owner: str


def of_others(config: config_dict.ConfigDict) -> Iterator[OfOther]:
    """Yields the options of heads, losses and optimisers that are not the chosen."""
    for choice in ("model.head", "loss.name", "optimizer.name"):
        chosen = operator.attrgetter(choice)(config)
        section, _ = choice.split(".")
        for name, key in keys.KEYS.items():
            of, *owner = name.split(".")[:-1] or [""]
            if of == section and owner and owner != [chosen]:
                yield OfOther(name, key.option.default, choice, chosen, *owner)


def reset_of_others(config: config_dict.ConfigDict) -> None:
    """Gives their defaults to the options of what is not chosen."""
    for row in of_others(config):
        *sections, last = row.name.split(".")
        operator.attrgetter(".".join(sections))(config)[last] = row.default


def may_change(name: str) -> bool:
    """Returns whether a run goes on with another value of a key, `section.key`."""
    return name in keys.KEYS and keys.KEYS[name].may_change


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = dict(value) if isinstance(value, dict) else value
    return nested


def _with_tuples(written: Any) -> Any:
    """Returns tuples for lists, as which JSON has them."""
    if isinstance(written, Mapping):
        return {name: _with_tuples(value) for name, value in written.items()}
    return tuple(written) if isinstance(written, list) else written


def _filled(before: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what was written and, at any depth, what it lacks."""
    filled = {**before, **written}
    for name in before.keys() & written.keys():
        if isinstance(before[name], dict):
            filled[name] = _filled(before[name], written[name])
    return filled
