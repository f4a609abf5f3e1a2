"""examples/third_party_backbone.py: a model from a package that is not ours."""

import importlib.util
import pathlib
import signal

import crawl_folders
import jax
import numpy as np
import pytest

from mlgcn_jax.data import dataset
from mlgcn_jax.evaluation import evaluate
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model
from mlgcn_jax.serving import predict
from mlgcn_jax.training import progress, train

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "third_party_backbone.py"


@pytest.fixture
def config(data_dir):
    spec = importlib.util.spec_from_file_location("third_party_backbone", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    config.data_dir = str(data_dir)
    config.image_size = 32
    config.batch_size = 8
    config.model.hidden_features = 16
    config.graph.embedding_dim = 5
    config.model.backbone_options.num_classes = 24
    config.keep_checkpoints = 1
    config.num_epochs = 1
    return config


@pytest.fixture(autouse=True)
def their_habits():
    """Our tests are stricter than JAX is, and than what others write."""
    with jax.numpy_rank_promotion("allow"):
        yield


def stop_after(patch: pytest.MonkeyPatch, num_steps: int) -> None:
    """A signal in the middle of an epoch."""
    add = progress.Progress.add
    seen = iter(range(1, 1000))

    def add_and_be_stopped(self, *args, **kwargs):
        add(self, *args, **kwargs)
        if next(seen) == num_steps:
            signal.raise_signal(signal.SIGTERM)

    patch.setattr(progress.Progress, "add", add_and_be_stopped)


def test_it_trains_resumes_bitwise_evaluates_and_predicts(
    config, data_dir, tmp_path, one_device
):
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    assert train.train_and_evaluate(config, whole) is None
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1)
        assert train.train_and_evaluate(config, halved) == signal.SIGTERM
    assert train.train_and_evaluate(config, halved) is None
    mesh = meshes.create_mesh()
    models = [trained_model.open_run(workdir, mesh) for workdir in (whole, halved)]
    jax.tree.map(np.testing.assert_array_equal, *(m.variables for m in models))

    data = dataset.open_dataset(data_dir)
    evaluate.evaluate_run(models[0], data, mesh, split="validation")
    written = np.load(models[0].folder.predictions)["scores"]
    assert np.isfinite(written).all()
    crawl = data_dir.parent / "crawl"
    picture = crawl_folders.picture_of(crawl, data.examples("validation")[0])
    (predicted,) = predict.predict(models[0], [picture], mesh)
    np.testing.assert_allclose(predicted.scores, written[0], rtol=1e-4, atol=1e-6)
