"""The measures: who takes part in each, with which cases, on each kind of device."""

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mlgcn_jax.benchmarks import figures, race, whole_run

MEASURES = ("T", "U", "I", "P", "C", "G", "H", "F", "R")
SLOW_MEASURES = ("F", "R")  # that take more than ten minutes

Case = Mapping[str, Any]

# Without these glibc hands memory back after every step and asks for it again: the
# same step of PyTorch was seen at 0.4 s and at 8 s.
_KEEP_MEMORY = {
    "MALLOC_TOP_PAD_": "2000000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
# Where JAX is told to compute on the CPU of a machine that has a GPU, PyTorch is too.
_ON_CPU = {**_KEEP_MEMORY, "CUDA_VISIBLE_DEVICES": ""}


class Measure(NamedTuple):
    """What is measured on one kind of device.

    Attributes:
        title: for people.
        contestants: by their names; `jax` is one.
        cases: name -> what each contestant's task is given.
        rounds: of timing.
        to_row: makes figures of what they took.
        in_turns: what disturbs the machine disturbs all of them, but all are on the
            device at the same time; otherwise one goes when the next comes.
        needs_folder: whether its tasks read what was prepared for them.
    """

    title: str
    contestants: Mapping[str, race.Contestant]
    cases: Mapping[str, Case]
    rounds: int
    to_row: Callable[[figures.Results], figures.Row] = figures.seconds
    in_turns: bool = True
    needs_folder: bool = False


class _Asked(NamedTuple):
    """What differs between kinds of devices.

    Attributes:
        jax: ours.
        torch: PyTorch, compared with ours in all but the steps; empty for none.
        steps: PyTorch, compared in train steps and inference.
        more_inference: who takes part in inference alone.
        training: cases of train steps.
        used: that of them whose use of the device is looked at, and whose compilation.
        inference: cases of inference.
        forms: cases of layers and models in the form of the platform and plainly.
        in_turns: see `Measure`.
    """

    jax: race.Contestant
    torch: Mapping[str, race.Contestant]
    steps: Mapping[str, race.Contestant]
    more_inference: Mapping[str, race.Contestant]
    training: Mapping[str, Case]
    used: Mapping[str, Case]
    inference: Mapping[str, Case]
    forms: Mapping[str, Case]
    in_turns: bool


def for_platform(platform: str) -> dict[str, Measure]:
    """Returns the measures, by their letters.

    Args:
        platform: on which JAX computes: `cpu`, `gpu` or `tpu`. Accelerators are asked
            the paper's pictures in bfloat16, and the largest batch that fits.
    """
    asked = _ASKED[platform]
    both = {"jax": asked.jax, **asked.torch}
    num_cores = len(os.sched_getaffinity(0))
    return {
        "T": Measure(
            "train step: batch x pixels",
            {"jax": asked.jax, **asked.steps},
            asked.training,
            rounds=9,
            to_row=figures.of_train_step,
            in_turns=asked.in_turns,
        ),
        "U": Measure(
            "use of the device in a train step",
            {"jax": asked.jax},
            asked.used,
            rounds=5,
            to_row=figures.use_of_device,
        ),
        "I": Measure(
            "inference: batch x pixels",
            {"jax": asked.jax, **asked.steps, **asked.more_inference},
            asked.inference,
            rounds=9,
            in_turns=asked.in_turns,
        ),
        "P": Measure(
            "input pipeline, one pass over a split",
            {**both, "decode": race.Contestant("decode_tasks")},
            {
                f"512 px, {num_cores} threads": {
                    "batch_size": 32,
                    "image_size": 512,
                    "num_threads": num_cores,
                }
            },
            rounds=9,
            needs_folder=True,
        ),
        "C": Measure(
            "compilation of the train step",
            both,
            asked.used,
            rounds=1,
            to_row=figures.compilation,
            in_turns=asked.in_turns,
        ),
        "G": Measure(
            "graph head, forward and gradient: labels",
            both,
            {str(n): {"num_labels": n} for n in (40, 2_000, 20_000)},
            rounds=5,
            in_turns=asked.in_turns,
        ),
        "H": Measure(
            "host time of a step",
            {"jax": asked.jax},
            _images((8, 32)),
            rounds=1,
            to_row=figures.host_time,
        ),
        "F": Measure(
            "layers and models: the form of this platform, and the plain one",
            {
                "jax": asked.jax._replace(module="form_tasks"),
                "plain": asked.jax._replace(module="plain_form_tasks"),
            },
            asked.forms,
            rounds=9,
            in_turns=asked.in_turns,
        ),
        "R": Measure(
            "whole run of the quick start, to a validation mAP",
            {
                name: contestant._replace(module=f"{name}_whole_run")
                for name, contestant in both.items()
            },
            {
                f"mAP {whole_run.THRESHOLD_MAP}": {
                    "threshold_map": whole_run.THRESHOLD_MAP
                }
            },
            rounds=1,
            to_row=figures.whole_run,
            in_turns=False,
            needs_folder=True,
        ),
    }


def check_installed(measures: Mapping[str, Measure]) -> None:
    """Checks that there is what the contestants compare us with.

    Raises:
        ValueError: there is not.
    """
    contestants = [c for m in measures.values() for c in m.contestants.values()]
    needed = {c.requires for c in contestants if c.requires}
    missing = sorted(n for n in needed if importlib.util.find_spec(n) is None)
    if missing:
        raise ValueError(
            f"{', '.join(missing)} not found: the comparison needs the torch extra: "
            "pip install 'mlgcn-jax[torch]'; U, H and F need none of it"
        )


def _images(*sizes: tuple[int, int]) -> dict[str, Case]:
    return {
        f"{batch}x{side}": {"batch_size": batch, "image_size": side}
        for batch, side in sizes
    }


def _bfloat16(*batches: int) -> dict[str, Case]:
    sizes = ((batch, 512) for batch in batches)
    return {
        name: {**case, "dtype": "bfloat16"} for name, case in _images(*sizes).items()
    }


def _torch(environment: Mapping[str, str]) -> dict[str, race.Contestant]:
    return {"torch": race.Contestant("torch_tasks", environment, requires="torch")}


def _forms(
    *, batch_size: int, image_size: int, inference: tuple[int, int], dtype: str
) -> dict[str, Case]:
    """Layers on the maps that DenseNet-121 (and ConvNeXt-T) has of such a batch."""
    cases: dict[str, Case] = {
        name: {
            "what": name,
            "batch_size": batch_size,
            "side": image_size // stride,
            "num_features": num_features,
            "dtype": dtype,
        }
        for name, stride, num_features in (
            ("max pooling", 2, 64),
            ("1x1 convolution", 8, 256),
            ("depthwise convolution", 4, 96),
            ("norm and ReLU", 4, 224),
            ("dense block", 4, 64),
        )
    }
    for name, what, (batch, side) in (
        ("train step", "train", (batch_size, image_size)),
        ("inference", "infer", inference),
    ):
        cases[f"{name} {batch}x{side}"] = {
            "what": what,
            "batch_size": batch,
            "image_size": side,
            "dtype": dtype,
        }
    return cases


_LARGEST = {"largest x512": {"image_size": 512, "dtype": "bfloat16"}}
# Each is alone on the card, and may take as much of it as PyTorch may.
_JAX_ALONE = race.Contestant("jax_tasks", {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95"})
_ON_TPU = _Asked(
    jax=race.Contestant("jax_tasks"),
    torch={},
    steps={},
    more_inference={},
    training={**_bfloat16(64, 128, 32), **_LARGEST},
    used=_bfloat16(64),
    inference=_bfloat16(1, 32, 128),
    forms=_forms(batch_size=64, image_size=512, inference=(32, 512), dtype="bfloat16"),
    in_turns=False,
)
_ASKED = {
    "cpu": _Asked(
        jax=race.Contestant("jax_tasks"),
        torch=_torch(_ON_CPU),
        steps=_torch(_ON_CPU),
        more_inference={
            "onnx": race.Contestant("onnx_tasks", _ON_CPU, requires="onnxruntime")
        },
        training=_images((8, 128), (32, 64)),
        used=_images((8, 128)),
        inference=_images((1, 224), (32, 224), (1, 512), (8, 512)),
        forms=_forms(
            batch_size=8, image_size=128, inference=(32, 224), dtype="float32"
        ),
        in_turns=True,
    ),
    "gpu": _ON_TPU._replace(
        jax=_JAX_ALONE,
        torch=_torch({}),
        steps={
            **_torch({}),
            "torch_compiled": race.Contestant("torch_compiled_tasks", requires="torch"),
        },
    ),
    "tpu": _ON_TPU,
}
