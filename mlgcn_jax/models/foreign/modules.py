"""A module of Flax NNX or Linen with its arrays as variables of ours."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen, nnx
from flax.core import meta
from jaxtyping import Array, Float, Key

from mlgcn_jax.data import foreign_code

Flat = dict[tuple[Any, ...], jax.Array]  # path -> array

# How modules call it that parameters are being learnt, or the contrary.
_TRAINING = ("train", "training", "is_training", "enable_dropout")
_INFERRING = ("deterministic", "inference", "use_running_average")
_COLLECTIONS = {"params", "batch_stats"}  # of Linen


class Applied(NamedTuple):
    """What a module computed, and its running statistics afterwards."""

    output: Any
    batch_stats: Flat


@dataclasses.dataclass(frozen=True)
class _Nnx:
    """A module of Flax NNX without its arrays.

    Attributes:
        graphdef: all that is static.
        rng_paths: of the keys and counters that it draws randomness with.
    """

    graphdef: nnx.GraphDef
    rng_paths: tuple[tuple[Any, ...], ...]

    def __call__(
        self, params: Flat, batch_stats: Flat, x: Array, *, train: bool, key: Any
    ) -> Applied:
        parts = [nnx.traversals.unflatten_mapping(p) for p in (params, batch_stats)]
        draws = nnx.traversals.unflatten_mapping(self._draws(key))
        module = nnx.merge(self.graphdef, *parts, draws)
        module.train() if train else module.eval()
        y = module(x, **_mode(module.__call__, train=train, key=key))
        return Applied(y, _flat(nnx.state(module, nnx.BatchStat)))

    def _draws(self, key: Key[Array, ""] | None) -> Flat:
        key = jax.random.key(0) if key is None else key
        return {
            path: jnp.uint32(0)
            if path[-1] == "count"
            else jax.random.fold_in(key, number)
            for number, path in enumerate(self.rng_paths)
        }


@dataclasses.dataclass(frozen=True)
class _Linen:
    """A module of Flax Linen, which has no arrays in it."""

    module: linen.Module

    def __call__(
        self, params: Flat, batch_stats: Flat, x: Array, *, train: bool, key: Any
    ) -> Applied:
        variables = {
            "params": nnx.traversals.unflatten_mapping(params),
            "batch_stats": nnx.traversals.unflatten_mapping(batch_stats),
        }
        y, changed = self.module.apply(
            variables,
            x,
            mutable=["batch_stats"] if train else [],
            # Streams of other names fall back on this one.
            rngs=None if key is None else {"params": key},
            **_mode(self.module.__call__, train=train, key=key),
        )
        stats: Any = changed.get("batch_stats", {})
        return Applied(y, nnx.traversals.flatten_mapping(stats) or batch_stats)


class Module(nnx.Module):
    """A module of others, its arrays laid out as variables of ours."""

    def __init__(self, module: Any, name: str, example: jax.Array, *, rngs: nnx.Rngs):
        """Takes over what the module holds.

        Args:
            module: of Flax NNX or Linen.
            name: of it, for messages.
            example: what it is called on, in shape.
            rngs: source of the initial parameters, for Linen.

        Raises:
            ValueError: it is no such module, or holds what a run does not keep.
        """
        if isinstance(module, nnx.Module):
            self.apply, params, batch_stats = _from_nnx(module, name)
        elif isinstance(module, linen.Module):
            self.apply, params, batch_stats = _from_linen(
                module, name, example, rngs=rngs
            )
        else:
            raise ValueError(
                f"{name} is no module of Flax NNX or Linen: it makes a "
                f"{type(module).__name__}"
            )
        for path, x in params.items():
            if x.dtype != jnp.float32:
                raise ValueError(
                    f"{name} has a parameter {_shown(path)} of {x.dtype}, and a run "
                    "keeps float32; set its type of parameters (param_dtype) to that"
                )
        self.name = name
        self.paths = tuple(params), tuple(batch_stats)
        self.params = _nested(params, nnx.Param)
        self.batch_stats = _nested(batch_stats, nnx.BatchStat)

    def __call__(
        self, x: Float[Array, "..."], *, train: bool, key: Key[Array, ""] | None
    ) -> Any:
        """Returns what the module returns; running statistics move in training."""
        of_params, of_stats = self.paths
        with foreign_code.refused(self.name, "where it is called"):
            applied = self.apply(
                _read(self.params, of_params),
                _read(self.batch_stats, of_stats),
                x,
                train=train,
                key=key,
            )
        if train:
            for path in of_stats:
                _find(self.batch_stats, path).set_value(applied.batch_stats[path])
        return applied.output


def _from_nnx(module: nnx.Module, name: str) -> tuple[_Nnx, Flat, Flat]:
    graphdef, params, batch_stats, draws, rest = nnx.split(
        module, nnx.Param, nnx.BatchStat, nnx.RngState, ...
    )
    _check_holds_no_more(name, map(_shown, _flat(rest)))
    return _Nnx(graphdef, tuple(_flat(draws))), _flat(params), _flat(batch_stats)


def _from_linen(
    module: linen.Module, name: str, example: jax.Array, *, rngs: nnx.Rngs
) -> tuple[_Linen, Flat, Flat]:
    with foreign_code.refused(name, "where its parameters are made"):
        variables = module.init(
            {"params": rngs.params()},
            example,
            **_mode(module.__call__, train=False, key=None),
        )
    _check_holds_no_more(name, variables.keys() - _COLLECTIONS)
    unboxed: Any = meta.unbox(variables)
    params, batch_stats = (
        dict(nnx.traversals.flatten_mapping(unboxed.get(part, {})))
        for part in ("params", "batch_stats")
    )
    return _Linen(module), params, batch_stats


def _check_holds_no_more(name: str, more: Iterable[str]) -> None:
    if more := sorted(more):
        raise ValueError(
            f"{name} holds {more}, which are neither parameters nor running "
            "statistics, and which a run would lose; use a module without them"
        )


def _mode(call: Callable[..., Any], *, train: bool, key: Any) -> dict[str, Any]:
    """Returns what a call takes of how it is meant and of randomness."""
    takes = inspect.signature(call).parameters
    given: dict[str, Any] = {name: train for name in _TRAINING if name in takes}
    given |= {name: not train for name in _INFERRING if name in takes}
    if key is not None and "key" in takes:
        given["key"] = key
    if key is not None and "rngs" in takes:
        given["rngs"] = nnx.Rngs(key)
    return given


def _flat(state: Any) -> Flat:
    return dict(nnx.traversals.flatten_mapping(nnx.to_pure_dict(state)))


def _nested(flat: Flat, kind: type[nnx.Variable]) -> Any:
    """Returns variables in nested dicts whose keys are text, as checkpoints have it."""
    nested: dict[str, Any] = {}
    for path, x in flat.items():
        *parents, last = map(str, path)
        inner = nested
        for part in parents:
            inner = inner.setdefault(part, {})
        inner[last] = kind(x)
    return _as_nnx(nested)


def _as_nnx(nested: Any) -> Any:
    if not isinstance(nested, dict):
        return nested
    return nnx.Dict({name: _as_nnx(x) for name, x in nested.items()})


def _find(nested: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        nested = nested[str(part)]
    return nested


def _read(nested: Any, paths: tuple[tuple[Any, ...], ...]) -> Flat:
    return {path: _find(nested, path)[...] for path in paths}


def _shown(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def shape_of(y: Any) -> str:
    """Returns dtype and shape of an array, for messages; its type of other things."""
    if isinstance(y, jax.Array | jax.ShapeDtypeStruct):
        return f"{y.dtype}{list(y.shape)}"
    return type(y).__name__
