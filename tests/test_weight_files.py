"""Files of tensors: what is written is read, what is damaged is said to be."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mlgcn_jax.models import weight_files

SUFFIXES = (".npz", ".safetensors")
TENSORS = {
    "features.conv0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "features.norm0.bias": np.asarray([1.5, -2.0], np.float32),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path, suffix: str):
    path = tmp_path / "new" / f"weights{suffix}"
    transposed = {name: x.T for name, x in TENSORS.items()}  # not contiguous
    weight_files.write(path, transposed)
    again = weight_files.read(path)
    assert again.keys() == TENSORS.keys()
    for name, tensor in again.items():
        np.testing.assert_array_equal(tensor, transposed[name])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 5, 0.5, -1])
def test_a_truncated_file_is_said_to_be_damaged(tmp_path, suffix: str, kept):
    path = tmp_path / f"weights{suffix}"
    weight_files.write(path, TENSORS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(ValueError, match="is damaged"):
        weight_files.read(path)


def test_an_npz_with_a_pickle_is_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.asarray([{"not": "a tensor"}], object))
    with pytest.raises(ValueError, match="is damaged"):
        weight_files.read(path)


def test_bfloat16_is_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"a": np.ones(3, jnp.bfloat16)}, path)
    assert weight_files.read(path)["a"].astype(np.float32).tolist() == [1, 1, 1]


def test_tensors_of_dicts_in_dicts_have_joined_names():
    """As checkpoints of training scripts are; NumPy stands for torch."""
    state, average = {"conv.weight": np.ones(2)}, {"conv.weight": np.zeros(2)}
    optimizer = {"state": {0: {"exp_avg": np.ones(2)}}, "param_groups": [{"lr": 1e-3}]}
    content = {"epoch": 3, "state_dict": state, "optimizer": optimizer}
    content["callbacks"] = {"ema": {"weights": average}}
    found = dict(weight_files._tensors_in(content, np.ndarray))
    assert list(found) == [
        "state_dict.conv.weight",
        "callbacks.ema.weights.conv.weight",
    ]
    assert found["state_dict.conv.weight"] is state["conv.weight"]


def test_other_files_are_refused(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match=r"weights\.h5 .* expected \.npz"):
        weight_files.read(tmp_path / "weights.h5")
    with pytest.raises(ValueError, match=r"expected \.npz"):
        weight_files.write(tmp_path / "weights", TENSORS)
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        weight_files.read(tmp_path / "none.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(ValueError, match="no tensors"):
        weight_files.read(tmp_path / "empty.npz")


def test_nothing_is_left_where_writing_fails(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(Exception, match="object"):
        weight_files.write(path, {"a": np.asarray([object()])})
    assert not list(tmp_path.iterdir())
