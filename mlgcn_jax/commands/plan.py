"""Compiles the train step for accelerators that are not there, and says what it costs.

mlgcn plan CONFIG --topology=v5e:4x4|h100:64 [--json=OUT] [--data_dir=DIR]
    [--num_labels=40] [--num_edges=1600] [--num_examples=30000] [--find_batch=4]
    [--config.KEY=VALUE ...]

v5e, v5p and v6e take libtpu (the `tpu` extra), a100, h100 and h200 the `cuda12` extra,
and neither the hardware. DenseNet-121 takes minutes, and as many again for each batch
that `--find_batch` compiles.
"""

import pathlib

import jax
from absl import app, flags
from ml_collections import config_flags

from mlgcn_jax.commands import exit_status
from mlgcn_jax.data import config_dict, dataset, files
from mlgcn_jax.devices import xla_flags
from mlgcn_jax.planning import chips, dataset_sizes, devices, plan, plan_text

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    f"Chips ({', '.join(chips.CHIPS)}) and how many: v5e:2x4, h100:8, h100:64.",
    required=True,
)
_JSON = flags.DEFINE_string("json", None, "JSON file for the figures.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Dataset that is to be trained on: its labels, edges and training pictures count, "
    "and not those of the three flags below.",
)
_NUM_LABELS = flags.DEFINE_integer(
    "num_labels", 40, "Labels of the dataset.", lower_bound=1
)
_NUM_EDGES = flags.DEFINE_integer(
    "num_edges",
    None,
    "Edges between labels, as `mlgcn graph` counts them; by default all are linked, or "
    f"each with {dataset_sizes.ASSUMED_NEIGHBOURS:,} others.",
    lower_bound=0,
)
_NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", None, "Training pictures, for hours an epoch.", lower_bound=1
)
_FIND_BATCH = flags.DEFINE_integer(
    "find_batch",
    0,
    "Compile so many more batches at most to find the largest one that fits.",
    lower_bound=0,
)
_INSTEAD_OF_DATASET = (_NUM_LABELS, _NUM_EDGES, _NUM_EXAMPLES)
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Runs the stage."""
    exit_status.check_no_arguments(argv)
    xla_flags.check()
    topology = chips.parse_topology(_TOPOLOGY.value)
    # Devices that are there play no part, and may be taken.
    jax.config.update("jax_platforms", "cpu")
    config = _CONFIG.value
    sizes = _sizes(config)
    mesh = devices.create_mesh(topology, label_shards=config.label_shards)
    made = plan.make_plan(
        config,
        topology,
        mesh,
        sizes,
        max_compilations=_FIND_BATCH.value,
    )
    print(plan_text.format_plan(made))
    if _JSON.value:
        files.write_json(pathlib.Path(_JSON.value), made)


def _sizes(config: config_dict.ConfigDict) -> dataset_sizes.DatasetSizes:
    if _DATA_DIR.value is None:
        return dataset_sizes.assumed(
            num_labels=_NUM_LABELS.value,
            num_edges=_NUM_EDGES.value,
            num_examples=_NUM_EXAMPLES.value,
        )
    given = [f"--{flag.name}" for flag in _INSTEAD_OF_DATASET if flag.present]
    if given:
        raise app.UsageError(f"--data_dir says what {', '.join(given)} says: give one")
    data = dataset.open_source(config.dataset, _DATA_DIR.value)
    return dataset_sizes.of_dataset(data, config.graph)
