"""Where the files of a run lie; imports nothing heavy, for `mlgcn status`."""

import pathlib


class RunPaths:
    """Names of the files in a run's folder; `run_folder` says what is in them."""

    def __init__(self, workdir: pathlib.Path):
        """Names the files; nothing is touched."""
        self.workdir = workdir
        self.config = workdir / "config.json"
        self.dataset = workdir / "dataset.json"
        self.labels = workdir / "labels.csv"
        self.label_graph = workdir / "label_graph.npz"
        self.checksums = workdir / "checksums.json"
        self.named_files = workdir / "named_files.json"
        self.initial_weights = workdir / "initial_weights.json"
        self.checkpoints = workdir / "checkpoints"
        self.metrics_log = workdir / "metrics.jsonl"
        self.tensorboard = workdir / "tensorboard"
        self.heartbeats = workdir / "heartbeats"
        self.profile = workdir / "profile"
        self.metrics = workdir / "metrics.json"
        self.per_label = workdir / "per_label.csv"
        self.predictions = workdir / "predictions.npz"

    def needed_to_go_on(self) -> list[pathlib.Path]:
        """The files that a run needs, besides a checkpoint, to be the same again."""
        return [
            self.config,
            self.dataset,
            self.labels,
            self.label_graph,
            self.checksums,
            self.named_files,
            self.initial_weights,
            self.metrics_log,
        ]

    def stuck(self, process: int) -> pathlib.Path:
        """What the watchdog of a process wrote before it ended it."""
        return self.workdir / f"stuck-process{process}.txt"
