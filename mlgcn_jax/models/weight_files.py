"""Files of named tensors: .npz, .safetensors, and PyTorch's .pth without its pickles.

Nothing but tensors is ever unpickled.
"""

import pathlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_dtypes  # noqa: F401, teaches NumPy bfloat16
import numpy as np
import safetensors.numpy

from mlgcn_jax.data import error_text, files, npz_files

Tensors = dict[str, np.ndarray]


def read(path: pathlib.Path) -> Tensors:
    """Returns the tensors of a file by name.

    Those of a .pth file may lie in dicts in dicts, as in checkpoints of training
    scripts: their names are then joined by dots (`state_dict.conv1.weight`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of file, a damaged one, one with more than tensors in
            it, or a .pth file where torch is not installed.
    """
    reader, _ = _kind(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of weights {path}")
    tensors = reader(path)
    if not tensors:
        raise ValueError(f"{path} holds no tensors by name, expected a state_dict")
    return tensors


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors by name, as the suffix says; the file is whole or not there.

    Raises:
        ValueError: another suffix, or .pth where torch is not installed.
    """
    _, writer = _kind(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    with files.written_whole(path) as temporary:
        writer(temporary, contiguous)


def _kind(path: pathlib.Path) -> tuple[Callable[..., Tensors], Callable[..., None]]:
    if path.suffix not in _KINDS:
        raise ValueError(f"{path} is no file of weights; expected {' '.join(_KINDS)}")
    return _KINDS[path.suffix]


def _write_npz(path: pathlib.Path, tensors: Tensors) -> None:
    with path.open("wb") as file:  # by name, NumPy would add a suffix
        np.savez(file, **tensors)  # pyright: ignore[reportArgumentType]


def _read_safetensors(path: pathlib.Path) -> Tensors:
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # SafetensorError, and others for a dtype
        raise _damaged(path, error) from error


def _write_safetensors(path: pathlib.Path, tensors: Tensors) -> None:
    safetensors.numpy.save_file(tensors, path)


def _read_pth(path: pathlib.Path) -> Tensors:
    torch = _torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors, which is never unpickled; "
            "where you trust it, save its state_dict alone to another file"
        ) from error
    except Exception as error:  # of zipfile and torch, of any kind
        raise _damaged(path, error) from error
    return {
        name: _array_of(path, name, tensor)
        for name, tensor in _tensors_in(content, torch.Tensor)
    }


def _tensors_in(
    content: Any, kind: type, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yields the tensors of a dict by name, and those of the dicts in it.

    A dict with other keys than names, such as an optimiser's state, has none.
    """
    if not isinstance(content, dict) or not all(isinstance(x, str) for x in content):
        return
    for name, value in content.items():
        if isinstance(value, kind):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors_in(value, kind, f"{prefix}{name}.")


def _array_of(path: pathlib.Path, name: str, tensor: Any) -> np.ndarray:
    try:
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise ValueError(
            f"{path}: the tensor {name} is no plain array ({tensor.dtype}, "
            f"{tensor.layout}, on {tensor.device}); save it dense and not quantised"
        ) from error


def _write_pth(path: pathlib.Path, tensors: Tensors) -> None:
    torch = _torch(path)
    torch.save({name: torch.from_numpy(x) for name, x in tensors.items()}, path)


def _torch(path: pathlib.Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path}: .pth files need PyTorch (pip install 'mlgcn-jax[torch]'); "
            ".safetensors and .npz do not"
        ) from error
    return torch


def _damaged(path: pathlib.Path, error: Exception) -> ValueError:
    reason = error_text.first_line(error)
    return ValueError(f"{path} is damaged ({type(error).__name__}: {reason})")


_KINDS: dict[str, tuple[Callable[..., Tensors], Callable[..., None]]] = {
    ".npz": (npz_files.read, _write_npz),
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".pth": (_read_pth, _write_pth),
    ".pt": (_read_pth, _write_pth),
    ".ckpt": (_read_pth, _write_pth),  # of Lightning
    ".tar": (_read_pth, _write_pth),  # model_best.pth.tar, of ML-GCN and others
}
