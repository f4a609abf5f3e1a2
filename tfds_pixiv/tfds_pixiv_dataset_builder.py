"""TFDS builder of tagged illustrations: crawl folder or archive -> array_record files.

    tfds build tfds_pixiv --config=top40 --manual_dir=FOLDER --file_format=array_record

where TensorFlow's tooling is installed; `mlgcn build` does the same without it.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from mlgcn_jax.data import folder_contents, folders
from tfds_pixiv import build_record, encoding, selection, twin_record

# A shard's examples are held in memory while it is written: about 100 MB.
_PICTURES_PER_SHARD = 1024
_PICTURES_PER_LOOK_UP = 128  # whose twins are looked for at once


@dataclasses.dataclass(kw_only=True)
class PixivConfig(tfds.core.BuilderConfig):
    """Where the pictures come from and which tags are labels.

    At most one of `vocabulary`, `num_labels` and `min_works` is given; with none, the
    crawl folder's own labels.csv is used.

    Attributes:
        folder: Crawl folder or archive of one; TFDS's manual_dir where None.
        vocabulary: Path of a labels.csv, or the name of a shipped vocabulary.
        num_labels: Use the tags with the most works, this many.
        min_works: Use every tag that at least this many works have.
        implications: Path of an implications.csv, or the name of a shipped one;
            None, as in the paper: a picture has the labels of its tags alone.
        negatives: `drop`, as in the paper: only pictures with a label are examples;
            `keep`: those that have tags but none of the labels are too.
        max_reject_share: The build fails when more than this share of the pictures, in
            [0, 1], cannot be used.
        max_side_px: Larger pictures are shrunk to this long side.
        twins: Whether training pictures that are copies of validation pictures are
            left out ("drop") or only counted ("keep").
    """

    folder: pathlib.Path | None = None
    vocabulary: str | None = None
    num_labels: int | None = None
    min_works: int | None = None
    implications: str | None = None
    negatives: str = "drop"
    max_reject_share: float = 0.05
    max_side_px: int = 512
    twins: twin_record.Policy = "drop"

    def __post_init__(self) -> None:
        """Checks the settings and describes them.

        Raises:
            ValueError: A setting is out of range, or two of them exclude each other.
        """
        choices = [self.vocabulary, self.num_labels, self.min_works]
        if sum(choice is not None for choice in choices) > 1:
            raise ValueError(
                f"vocabulary={self.vocabulary!r}, num_labels={self.num_labels} and "
                f"min_works={self.min_works} exclude each other; give one of them"
            )
        for name in ("num_labels", "min_works", "max_side_px"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.negatives not in selection.NEGATIVES:
            raise ValueError(
                f"negatives={self.negatives!r} must be one of "
                f"{', '.join(selection.NEGATIVES)}"
            )
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError(
                f"max_reject_share={self.max_reject_share} must lie in [0, 1]"
            )
        if self.twins not in twin_record.POLICIES:
            raise ValueError(
                f"twins={self.twins!r} must be one of {', '.join(twin_record.POLICIES)}"
            )
        if self.vocabulary is not None:
            self.description = "Labels of a given vocabulary."
        elif self.num_labels is not None:
            self.description = f"The {self.num_labels} labels with the most works."
        elif self.min_works is not None:
            self.description = f"All labels with at least {self.min_works} works."
        else:
            self.description = "Labels of the labels.csv in the crawl folder."


class Builder(tfds.core.ShardBasedBuilder):
    """Illustrations with multi-label tags, split 3/4 : 1/4 by a hash of the work id.

    Shard-based, because TFDS's GeneratorBasedBuilder needs TensorFlow for a split
    above 1 GB. The examples of a split are in a fixed, shuffled order.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is a crawl folder: images and a metadata.jsonl with one object per "
        "image (id, page, file, tags), or images with gallery-dl's .json or .txt tag "
        "files beside them."
    )
    BUILDER_CONFIGS = [  # noqa: RUF012
        PixivConfig(
            name="openclipart40", folder=folders.SAMPLE, vocabulary="openclipart40"
        ),
        PixivConfig(name="pixiv40", vocabulary="pixiv40"),
        PixivConfig(name="top40", num_labels=40),  # the paper's
        PixivConfig(name="all100", min_works=100),
    ]

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any):
        """Opens or prepares to build a dataset; see `tfds.core.DatasetBuilder`."""
        super().__init__(file_format=file_format, **kwargs)

    def _create_builder_config(
        self,
        builder_config: str | tfds.core.BuilderConfig | None,
        version: str | tfds.core.Version | None,
    ) -> tfds.core.BuilderConfig | None:
        """Returns the config; unlike in TFDS, one like `top40` may have a folder."""
        if isinstance(builder_config, PixivConfig):
            return builder_config
        return super()._create_builder_config(builder_config, version)

    @property
    def config(self) -> PixivConfig:
        """The settings of this dataset."""
        assert isinstance(self.builder_config, PixivConfig)
        return self.builder_config

    def _info(self) -> tfds.core.DatasetInfo:
        # Its names come with the vocabulary, or from the files.
        self._label = tfds.features.ClassLabel()
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(
                    shape=(None, None, 3), encoding_format="jpeg"
                ),
                "id": tfds.features.Text(doc="work"),
                "page": tfds.features.Scalar(np.int32),
                "labels": tfds.features.Sequence(self._label),
                "tags": tfds.features.Sequence(tfds.features.Text()),
                "title": tfds.features.Text(),
                "user": tfds.features.Text(),
                "width": tfds.features.Scalar(np.int32, doc="original, in px"),
                "height": tfds.features.Scalar(np.int32, doc="original, in px"),
            }
        )
        return self.dataset_info_from_configs(features=features)

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        file_format = self.info.file_format
        if file_format != tfds.core.FileFormat.ARRAY_RECORD:
            raise ValueError(
                f"file_format={file_format and file_format.value} cannot be read at "
                "random without TensorFlow; use file_format=array_record"
            )
        # TFDS calls this with data_path = a temporary folder that it renames at the
        # end, so the side files appear together with the shards.
        config = self.config
        source = config.folder or pathlib.Path(dl_manager.manual_dir)
        scratch_dir = pathlib.Path(self.data_dir_root)
        with selection.open_source(source, scratch_dir=scratch_dir) as folder:
            self._selection = select(folder, config)
            self._record = build_record.BuildRecord(
                self._selection,
                max_reject_share=config.max_reject_share,
                failure_path=pathlib.Path(self.data_path.parent / "rejects.jsonl"),
            )
            self._twins = twin_record.TwinRecord(
                {name: len(part) for name, part in self._selection.pictures.items()},
                config.twins,
            )
            with tqdm_utils.tqdm(
                total=self._selection.num_pictures, unit=" pictures"
            ) as self._progress:
                super()._download_and_prepare(dl_manager, download_config)
        settings = {
            "num_labels": config.num_labels,
            "min_works": config.min_works,
            "max_reject_share": config.max_reject_share,
            "max_side_px": config.max_side_px,
            "twins": config.twins,
        }
        self._record.write(
            pathlib.Path(self.data_path), settings=settings, twins=self._twins
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], Iterator[tuple[str, dict[str, Any]]]]]]:
        self._label.names = list(self._selection.vocabulary.labels)
        pictures = self._selection.pictures
        # Validation comes first, because training pictures are compared with it.
        return {
            split: [self._make_shard(split, s) for s in _even_shards(pictures[split])]
            for split in reversed(selection.SPLITS)
        }

    def _make_shard(
        self, split: str, pictures: Sequence[selection.LabelledPicture]
    ) -> Callable[[], Iterator[tuple[str, dict[str, Any]]]]:
        def generate_examples() -> Iterator[tuple[str, dict[str, Any]]]:
            waiting: list[encoding.Encoded] = []
            max_side_px = self.config.max_side_px
            for result in encoding.encode_pictures(pictures, max_side_px=max_side_px):
                self._progress.update(1)
                if isinstance(result, folder_contents.Reject):
                    self._record.add_reject(result)
                    continue
                waiting.append(result)
                if len(waiting) == _PICTURES_PER_LOOK_UP:
                    yield from self._without_twins(split, waiting)
                    waiting.clear()
            yield from self._without_twins(split, waiting)

        return generate_examples

    def _without_twins(
        self, split: str, encoded: Sequence[encoding.Encoded]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        if not encoded:
            return
        is_chosen = self._twins.add(
            split,
            [result.picture for result in encoded],
            np.stack([result.fingerprint for result in encoded]),
        )
        for result in itertools.compress(encoded, is_chosen):
            example = result.example
            self._record.add_example(split, example["labels"])
            yield f"{example['id']} {example['page']}", example


def select(folder: pathlib.Path, config: PixivConfig) -> selection.Selection:
    """Returns what `config` selects from the crawl folder; see `selection.select`."""
    return selection.select(
        folder,
        vocabulary=config.vocabulary,
        num_labels=config.num_labels,
        min_works=config.min_works,
        implications=config.implications,
        negatives=config.negatives,
    )


def _even_shards(
    pictures: Sequence[selection.LabelledPicture],
) -> list[Sequence[selection.LabelledPicture]]:
    num_shards = -(-len(pictures) // _PICTURES_PER_SHARD)
    bounds = [len(pictures) * shard // num_shards for shard in range(num_shards + 1)]
    return [pictures[start:stop] for start, stop in itertools.pairwise(bounds)]
