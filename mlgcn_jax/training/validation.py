"""The validations of a run while it trains."""

from absl import logging
from flax import nnx

from mlgcn_jax.data import config_dict, source
from mlgcn_jax.evaluation import metrics, scoring, shares
from mlgcn_jax.graph import label_graph
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import metric_writer, train_state
from mlgcn_jax.training import interruption, vital_signs


class Validation:
    """Evaluates the validation split now and then and adds the result to the curves."""

    def __init__(
        self,
        config: config_dict.ConfigDict,
        data: source.Source,
        graphdef: nnx.GraphDef,
        *,
        batch_size: int,
        writer: metric_writer.MetricWriter,
        interrupted: interruption.Interruption,
        signs: vital_signs.VitalSigns,
    ):
        """Prepares it; nothing is compiled yet.

        Args:
            config: of the run.
            data: its dataset.
            graphdef: its model's structure.
            batch_size: images that this process scores at a time.
            writer: of the curves.
            interrupted: what a signal asks to stop.
            signs: told of every batch.
        """
        self._config = config
        self._data = data
        # Each process scores a share of its own, with its devices alone.
        self._scorer = scoring.Scorer(
            graphdef,
            meshes.create_local_mesh(label_shards=config.label_shards),
            image_size=config.image_size,
            batch_size=batch_size,
        )
        self._writer = writer
        self._interrupted = interrupted
        self._signs = signs

    def run(
        self,
        step: int,
        variables: train_state.Variables,
        graph: label_graph.LabelGraph,
    ) -> None:
        """Evaluates the variables of a step; all processes take part.

        Raises:
            Interrupted: a signal asked to stop.
            ValueError: a score is not finite.
        """
        with self._signs.during(vital_signs.VALIDATING):
            self._scorer.load(variables, graph)
            self._scorer.compile(self._scorer.batch_size)
            scores, labels = shares.score_split(
                self._scorer,
                self._data,
                "validation",
                image_size=self._config.image_size,
                batch_size=self._scorer.batch_size,
                num_threads=self._config.num_threads,
                pad_colour=self._config.pad_colour,
                before_batch=self._before_batch,
            )
            self._signs.enter(vital_signs.VALIDATING)  # nor how long the metrics take
            computed = metrics.compute_metrics(scores, labels)
            self._writer.write(step, {"validation": computed})
        logging.info(
            "step %d  validation mAP %s  CF1 %.3f  OF1 %.3f",
            step,
            "-" if computed["mAP"] is None else f"{computed['mAP']:.3f}",
            computed["CF1"],
            computed["OF1"],
        )

    def _before_batch(self) -> None:
        self._signs.beat("a batch was validated")
        self._interrupted.check()
