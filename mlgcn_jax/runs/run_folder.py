"""The folder of one run (its workdir): what lies where, and who may write to it.

config.json        the resolved config
dataset.json       which dataset it was trained on, the images of an epoch, and the
                   long side that the dataset stores of a picture
labels.csv         the vocabulary
label_graph.npz    the label graph and the counts behind it
checksums.json     of labels.csv and label_graph.npz
named_files.json   checksums of the files that the config names
initial_weights.json    what became of the tensors of config.initial_weights
checkpoints/       train states
metrics.jsonl      curves, one JSON object a line (`training/progress.py` says of which
                   steps); the same for TensorBoard in
tensorboard/
heartbeats/        how each process of the run is, as `mlgcn status` shows it
profile/           traces of `mlgcn train --profile_steps`
stuck-process*.txt stacks of a process that its watchdog ended
metrics.json, per_label.csv, predictions.npz    results of `mlgcn evaluate`
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

from mlgcn_jax.data import config_dict, files, labels, source
from mlgcn_jax.graph import label_graph, statistics
from mlgcn_jax.runs import checksums, epochs, named_files, run_paths
from mlgcn_jax.schema import configs

# A config of before this key may be of a run of before there were checksums.
_KEY_SINCE_CHECKSUMS = "initial_weights"

# In dataset.json, beside the keys that all runs have there.
_EXAMPLES_PER_EPOCH = "examples_per_epoch"
_MAX_SIDE_PX = "max_side_px"


class RunFolder(run_paths.RunPaths):
    """Paths of one run, and what is read from and written to them."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other training out of the folder while inside.

        The lock goes with the process, however that ends.

        Raises:
            ValueError: another process holds it.
        """
        self.workdir.mkdir(parents=True, exist_ok=True)
        with (self.workdir / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise ValueError(
                    f"another run (process {file.read().strip()}) is at work in "
                    f"{self.workdir}; wait for it or use another --workdir"
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def create(
        self,
        config: config_dict.ConfigDict,
        data: source.Opened,
        graph: label_graph.LabelGraph,
        counted: statistics.LabelStatistics,
    ) -> None:
        """Writes what the run is made of; results of one that was here before go."""
        for path in (self.metrics, self.per_label, self.predictions):
            path.unlink(missing_ok=True)
        labels.write_vocabulary(data.vocabulary, self.labels)
        label_graph.save_label_graph(self.label_graph, graph, counted)
        self._write_checksums()
        named_files.write_checksums(self.named_files, _flat(config.to_dict()))
        self._write_config(config, data, examples_per_epoch=data.num_examples("train"))

    def reopen(self, config: config_dict.ConfigDict, data: source.Opened) -> None:
        """Checks that the run is the same as before; what may change is updated.

        Raises:
            ValueError: the folder belongs to a run of another config or dataset, or a
                file of it is damaged.
        """
        self.check_whole()
        self.check_same_config(config)
        self.check_same_dataset(data)
        if not self.checksums.exists():
            self._write_checksums()
        # Where it was not written yet an epoch was what fills whole batches: the run
        # keeps its schedule and its end.
        num_examples = data.num_examples("train")
        whole_batches = num_examples - num_examples % config.batch_size
        examples = self.read_dataset().get(_EXAMPLES_PER_EPOCH, whole_batches)
        self._write_config(config, data, examples_per_epoch=examples)

    def _write_config(
        self,
        config: config_dict.ConfigDict,
        data: source.Opened,
        *,
        examples_per_epoch: int,
    ) -> None:
        files.write_json(
            self.dataset,
            {
                "directory": str(data.directory.resolve()),
                "fingerprint": data.fingerprint,
                _EXAMPLES_PER_EPOCH: examples_per_epoch,
                _MAX_SIDE_PX: data.max_side_px,
            },
        )
        files.write_json(self.config, config.to_dict())  # last: with it the run exists

    def _write_checksums(self) -> None:
        checksums.write(self.workdir, [self.labels, self.label_graph])

    def check_whole(self) -> None:
        """Raises ValueError where vocabulary or label graph are not as they were.

        A run of before there were checksums is taken for whole.
        """
        if not self.checksums.exists() and self._may_lack_checksums():
            return
        damage = checksums.find_damage(self.workdir)
        if damage is not None:
            raise ValueError(
                f"the run in {self.workdir} is damaged: {damage}; restore it from a "
                "copy, for its model means nothing without that file"
            )

    def _may_lack_checksums(self) -> bool:
        return _KEY_SINCE_CHECKSUMS not in self._read_written_config()

    def read_config(self) -> config_dict.ConfigDict:
        """Returns the config that the run was started with.

        Raises:
            FileNotFoundError: this is not a run's folder.
            ValueError: the file is damaged.
        """
        return configs.upgrade(self._read_written_config())

    def _read_written_config(self) -> dict[str, Any]:
        if not self.config.is_file():
            raise FileNotFoundError(
                f"{self.workdir} is not a run: it has no config.json; give the "
                "--workdir of `mlgcn train`"
            )
        return files.read_json(self.config)

    def read_epochs(self, config: config_dict.ConfigDict) -> epochs.Epochs:
        """Returns what an epoch of the run is; `create` or `reopen` wrote it."""
        return epochs.Epochs(
            num_examples=self.read_dataset()[_EXAMPLES_PER_EPOCH],
            batch_size=config.batch_size,
        )

    def read_max_side_px(self, config: config_dict.ConfigDict) -> int | None:
        """Returns the long side that the run's dataset stores of a larger picture.

        None of a dataset that hands out files as they are.

        Of a run that was made before this was written, and did not go on since, it is
        that of the config's own build: the default, 512, where it does not say another.
        """
        return self.read_dataset().get(_MAX_SIDE_PX, config.build.max_side)

    def read_dataset(self) -> dict[str, Any]:
        """Returns `directory`, where the dataset lay last, and its `fingerprint`.

        Raises:
            FileNotFoundError: this is not a run's folder.
            ValueError: the file is damaged.
        """
        found = files.read_json(self.dataset)
        if not found.keys() >= {"directory", "fingerprint"}:
            raise ValueError(
                f"{self.dataset} is damaged (it has the keys {sorted(found)}, expected "
                "directory and fingerprint); restore it from a copy"
            )
        return found

    def check_same_config(
        self, config: config_dict.ConfigDict, *, where: str = ""
    ) -> None:
        """Checks that the run can go on with a config.

        Args:
            config: the one it shall go on with.
            where: the run is, for the message; its folder by default.

        Raises:
            ValueError: it is a run of another config; the message says in what.
        """
        old, new = (
            _flat(json.loads(json.dumps(x.to_dict())))  # where there are no tuples
            for x in (self.read_config(), config)
        )
        known = named_files.read_checksums(self.named_files)
        if changed := _changed(old, new) + named_files.changed(old, new, known):
            raise ValueError(
                f"{where or self.workdir} holds a run of another config "
                f"({'; '.join(changed)}); use the same config to go on with it, or "
                "another --workdir"
            )

    def check_same_dataset(self, data: source.Opened) -> None:
        """Raises ValueError where the run was trained on another dataset."""
        before = self.read_dataset()
        if before["fingerprint"] != data.fingerprint:
            raise ValueError(
                f"{self.workdir} holds a run on another dataset "
                f"({before['directory']}, now {data.directory} with other content); "
                "use that dataset to go on with it, or another --workdir"
            )


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Returns the keys that differ though they may not, each with both values."""
    return [
        f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and key not in named_files.KEYS
        and not configs.may_change(key)
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
