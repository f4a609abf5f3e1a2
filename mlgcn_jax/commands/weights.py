"""Writes what a run has learnt for PyTorch and others.

mlgcn weights RUN OUT.pth|OUT.safetensors|OUT.npz

Names and layouts are torchvision's or timm's, with gc1.weight and gc2.weight of ML-GCN
for a GCN head; config.initial_weights reads them back.
"""

import pathlib

import jax
from absl import app, flags
from flax import nnx

from mlgcn_jax.commands import chosen_step
from mlgcn_jax.models import torch_weights, weight_files
from mlgcn_jax.runs import jax_settings, trained_model
from mlgcn_jax.runs import mesh as meshes

flags.adopt_module_key_flags(chosen_step)


@jax_settings.usable()
def main(argv: list[str]) -> None:
    """Runs the stage."""
    if len(argv) != 3:
        raise app.UsageError(
            f"expected the folder of a run and a file, found {argv[1:]}"
        )
    workdir, out = (pathlib.Path(path).expanduser() for path in argv[1:])
    model = trained_model.open_run(
        workdir, meshes.create_mesh(), step=chosen_step.STEP.value
    )
    variables = jax.device_get(model.variables)
    tensors = torch_weights.to_torch(
        *variables, model=nnx.merge(model.graphdef, *variables)
    )
    weight_files.write(out, tensors)
    print(f"{len(tensors)} tensors of step {model.step}: {out}")
