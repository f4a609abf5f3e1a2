"""ONNX Runtime's side of the inference measure: PyTorch's model, exported."""

import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from mlgcn_jax.benchmarks import cases, tasks, torch_tasks


def infer(*, batch_size: int, image_size: int) -> tasks.Task:
    """Scores of a batch, from NumPy to NumPy, with every graph optimisation."""
    array = cases.make_batch(batch_size, image_size).image
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        _export(path, _to_nchw(array))
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def task() -> np.ndarray:
        (logits,) = session.run(None, {"image": _to_nchw(array)})
        return 1.0 / (1.0 + np.exp(-np.asarray(logits)))

    return tasks.Task(task, {"images": batch_size})


def _export(path: pathlib.Path, image: np.ndarray) -> None:
    """Writes the reference model, for this shape alone: no axis is left open."""
    model = torch_tasks.create_model().cpu().eval()
    program = torch.onnx.export(
        model,
        (torch.from_numpy(image),),
        dynamo=True,
        input_names=["image"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    program.save(path)


def _to_nchw(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


TASKS: dict[str, Callable[..., tasks.Task]] = {"I": infer}
