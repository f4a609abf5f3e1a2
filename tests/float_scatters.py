"""Scatters of floats in a program: on a GPU they add in any order, at any speed.

By hand, for the train step on a GPU that need not be there (jax[cuda12] installed):

JAX_PLATFORMS=cpu PYTHONPATH=.:tests python tests/float_scatters.py --topology=h100:1

compiles `configs/paper.py`, prints what it finds in the optimised program, and ends
with 1 if that is anything. With --plain_form, the form with scatters, it must be.
"""

import re
import sys

import plain_form
from absl import app, flags

from configs import paper
from mlgcn_jax.models import adjacency_product
from mlgcn_jax.planning import chips, dataset_sizes, devices, steps

_TOPOLOGY = flags.DEFINE_string("topology", "h100:1", "As for `mlgcn plan`.")
_BACKBONE = flags.DEFINE_string("backbone", "densenet121", "A name of the registry.")
_NUM_LABELS = flags.DEFINE_integer("num_labels", 40, "With 40 neighbours each at most.")
_PLAIN_FORM = flags.DEFINE_boolean("plain_form", False, "Sum over edges by scatter.")

# `%name = SHAPE scatter(OPERANDS)`; SHAPE is an array, f32[2,3]{1,0}, or a tuple.
_SCATTER = re.compile(r".* = ([^=]*?) (?:select-and-)?scatter\(")
_FLOATS = re.compile(r"\bb?f\d+\w*\[")


def in_program(hlo: str) -> list[str]:
    """Returns the lines of a program's HLO that scatter floats."""
    found = ((_SCATTER.match(line), line.strip()) for line in hlo.splitlines())
    return [line for match, line in found if match and _FLOATS.search(match[1])]


def main(argv: list[str]) -> None:
    del argv
    if _PLAIN_FORM.value:
        adjacency_product.multiply = plain_form.multiply
    config = paper.get_config()
    config.model.backbone = _BACKBONE.value
    topology = chips.parse_topology(_TOPOLOGY.value)
    mesh = devices.create_mesh(topology, label_shards=config.label_shards)
    num_labels = _NUM_LABELS.value
    num_edges = num_labels * min(num_labels - 1, 40)
    sizes = dataset_sizes.assumed(num_labels=num_labels, num_edges=num_edges)
    lowered = steps.lower(config, mesh, sizes).step
    on_gpus = topology.chip.platform == "gpu"
    options = {"xla_gpu_autotune_level": 0} if on_gpus else None
    hlo = lowered.compile(compiler_options=options).as_text()
    found = in_program(hlo)
    print(
        f"{len(hlo.splitlines()):,} lines, {len(found)} scatters of floats",
        *found,
        sep="\n",
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    app.run(main)
