"""A dataset of others, `package.module:Class`: used whole, refused in one line."""

import json
import pathlib
import signal

import command_line
import configurations
import jax
import numpy as np
import pytest
from run_logs import curves
from test_third_party_model import stop_after

from mlgcn_jax.data import dataset, source
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import run_folder, trained_model
from mlgcn_jax.training import train

TOYS = '''
import hashlib
import io

import numpy as np
from PIL import Image

from mlgcn_jax.data import labels


class Source:
    """Pictures of noise under a folder that has a file with a seed."""

    def __init__(self, directory):
        self.seed = int((directory / "seed.txt").read_text())
        self.vocabulary = labels.Vocabulary(("dark", "bright", "none"), ((), (), ()))
        self.fingerprint = hashlib.sha256(b"%d" % self.seed).hexdigest()

    def num_examples(self, split):
        return {"train": 16, "validation": 9}[split]

    def examples(self, split):
        return [self.example(split, index) for index in range(self.num_examples(split))]

    def example(self, split, index):
        is_bright = index % 2
        rng = np.random.default_rng((self.seed, index, split == "train"))
        pixels = rng.integers(128, size=(40, 30, 3), dtype=np.uint8) + 100 * is_bright
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
        return {"image": file.getvalue(), "labels": [is_bright], "id": index}


class NoFingerprint(Source):
    def __init__(self, directory):
        super().__init__(directory)
        del self.fingerprint


class NothingButFingerprint:
    fingerprint = "a"

    def __init__(self, directory):
        pass


class OfNothing(Source):
    def __init__(self):
        pass


class PlainVocabulary(Source):
    vocabulary = property(lambda self: ("dark", "bright"), lambda self, value: None)


class OnlyTraining(Source):
    def num_examples(self, split):
        return {"train": 16}[split]


class Empty(Source):
    def num_examples(self, split):
        return 0


class TooFew(Source):
    def examples(self, split):
        return super().examples(split)[1:]


class Changed(Source):
    changes = {}

    def example(self, split, index):
        found = super().example(split, index)
        return found | self.changes if (split, index) == ("validation", 3) else found


class TooLarge(Changed):
    changes = {"labels": [0, 3]}


class Unknown(Changed):
    changes = {"labels": [-1]}


class Shares(Changed):
    changes = {"labels": [0.5]}


class Paths(Changed):
    changes = {"image": "picture.jpg"}


class ManyLines(Changed):
    def example(self, split, index):
        raise OSError("disk\\nis\\ngone")


class NoId(Changed):
    def example(self, split, index):
        found = super().example(split, index)
        del found["id"]
        return found
'''


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    """Where sources are and what they read."""
    (tmp_path / "toy_sources.py").write_text(TOYS)
    (tmp_path / "broken_source.py").write_text("1 / 0")
    (tmp_path / "seed.txt").write_text("1")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def make_config(folder: pathlib.Path, name: str = "Source", **overrides):
    return configurations.tiny(
        folder, num_epochs=1, dataset=f"toy_sources:{name}", **overrides
    )


def test_it_is_a_source_as_ours_is(folder, data_dir):
    toy = dataset.open_source("toy_sources:Source", folder)
    assert isinstance(toy, source.Opened)
    assert isinstance(dataset.open_source("", data_dir), source.Opened)
    assert toy.label_counts("train").tolist() == [8, 8, 0]
    assert toy.label_counts("validation").tolist() == [5, 4, 0]
    assert toy.max_side_px is None  # its pictures are read as they are
    example = toy.examples("validation")[3]
    assert (example["id"], example["page"]) == ("3", 0)
    np.testing.assert_array_equal(example["labels"], [1])
    with pytest.raises(ValueError, match=r"split 'test' is not one of \['train', 'val"):
        toy.examples("test")
    with pytest.raises(IndexError, match="has 9 examples, not 9"):
        toy.examples("validation")[9]


def test_it_trains_resumes_bitwise_and_evaluates(folder, one_device):
    config = make_config(folder)
    whole, halved = folder / "whole", folder / "halved"
    assert train.train_and_evaluate(config, whole) is None
    assert [line["step"] for line in curves(whole) if "loss" in line] == [1, 2]
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 1)
        assert train.train_and_evaluate(config, halved) == signal.SIGTERM
    assert train.train_and_evaluate(config, halved) is None
    models = [
        trained_model.open_run(run, meshes.create_mesh()) for run in (whole, halved)
    ]
    jax.tree.map(np.testing.assert_array_equal, *(m.variables for m in models))
    assert models[0].vocabulary.labels == ("dark", "bright", "none")

    command_line.mlgcn("evaluate", whole, cwd=folder)
    metrics = json.loads(models[0].folder.metrics.read_text())
    toy = dataset.open_source("toy_sources:Source", folder)
    assert metrics["dataset_fingerprint"] == toy.fingerprint
    (folder / "picture.jpg").write_bytes(toy.examples("validation")[0]["image"])
    told, _ = command_line.mlgcn("predict", whole, "picture.jpg", cwd=folder)
    assert "picture.jpg" in told

    (folder / "seed.txt").write_text("2")
    with pytest.raises(ValueError, match="holds a run on another dataset"):
        train.train_and_evaluate(config, whole)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Source", "no_such_module cannot be imported"),
        ("broken_source:Source", "cannot be imported .*ZeroDivisionError"),
        ("toy_sources:Sauce", r"toy_sources\.py\) has no Sauce"),
        ("toy_sources", "must be named package.module:name"),
        ("toy_sources:OfNothing", "fails where it is opened in .*: TypeError: "),
        ("toy_sources:NoFingerprint", "lacks fingerprint; a source has vocabulary, "),
        (
            "toy_sources:NothingButFingerprint",
            "lacks vocabulary, num_examples, examples;",
        ),
        ("toy_sources:PlainVocabulary", r"has the vocabulary \('dark', 'bright'\), "),
        (
            "toy_sources:OnlyTraining",
            "fails where its validation split .*: KeyError: 'val",
        ),
        ("toy_sources:Empty", r"num_examples\('train'\) is 0 and .* has 0; .* 1 at"),
        ("toy_sources:TooFew", r"num_examples\('train'\) is 16 and .* has 15;"),
        (
            "toy_sources:TooLarge",
            "example 3 of the validation split .* label index 3;",
        ),
        ("toy_sources:Unknown", "has label index -1; expected one from 0 to 2"),
        (
            "toy_sources:Shares",
            "example 3 .* fails where it is read: TypeError: .*; an example has",
        ),
        ("toy_sources:Paths", "has an image of type str, expected bytes"),
        (
            "toy_sources:ManyLines",
            r"where its train split is opened: OSError: disk$",
        ),
        ("toy_sources:NoId", "example 0 of the train split .* is read: KeyError: 'id'"),
    ],
)
def test_what_is_no_source_leaves_no_run(folder, name, message):
    config = make_config(folder)
    config.dataset = name
    with pytest.raises(ValueError, match=message) as raised:
        train.train_and_evaluate(config, folder / "run")
    assert "\n" not in str(raised.value)
    assert not run_folder.RunFolder(folder / "run").config.exists()


def test_nothing_is_built_of_it(folder):
    config = make_config(folder, build__source="sample")
    with pytest.raises(
        ValueError, match=r"build\.source=sample builds no dataset 'toy_"
    ):
        train.train_and_evaluate(config, folder / "run")
