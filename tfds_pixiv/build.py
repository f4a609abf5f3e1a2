"""Builds a dataset without TensorFlow's tooling, or finds that it is built already."""

import contextlib
import io
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

from absl import logging

from mlgcn_jax.data import config_dict, dataset, file_lock, folders
from tfds_pixiv import (
    build_record,
    selection,
    tfds_pixiv_dataset_builder,
    twin_record,
)

# What may lie in the folder of a dataset before it is there: of TFDS, of builds that
# were killed, and of systems.
_NO_CONTENT = re.compile(r"tfds_pixiv|downloads|unpacked\..*|lost\+found|\..*")


def build(
    source: pathlib.Path | None,
    data_dir: pathlib.Path,
    *,
    labels: str | None = None,
    top: int | None = None,
    min_works: int | None = None,
    implications: str | None = None,
    negatives: str = "drop",
    max_side_px: int = 512,
    max_reject_share: float = 0.05,
    twins: twin_record.Policy | None = None,
    overwrite: bool = False,
    alone: bool = False,
) -> tuple[dataset.Dataset, bool]:
    """Returns the dataset, and whether it was built now.

    At most one of `labels`, `top` and `min_works` is given; with none, the labels.csv
    of the crawl folder is used.

    Args:
        source: Crawl folder or archive of one; None for the sample that is shipped.
        data_dir: Folder under which the dataset lies.
        labels: Path of a labels.csv, or the name of a shipped vocabulary.
        top: Use this many tags, those with the most works.
        min_works: Use all tags of at least this many works.
        implications: Path of an implications.csv, or the name of a shipped one:
            pictures get the labels too that theirs imply.
        negatives: `keep`: pictures that have tags but none of the labels are examples
            without a label; `drop`: they are left out.
        max_side_px: Larger pictures are shrunk to this long side.
        max_reject_share: Largest share of pictures that may be unusable, in [0, 1].
        twins: "drop" or "keep" for training pictures that are copies of validation
            pictures; None: drop, and leave a dataset that is there as it is.
        overwrite: Replace the dataset that is there; if the build fails it stays.
        alone: `data_dir` is for this dataset alone: one that is there is known by its
            content, whatever its name, and nothing is written beside anything else.

    Raises:
        FileNotFoundError: There is no such source, or it has no vocabulary.
        ValueError: The dataset is there already, from another source or vocabulary; the
            source or the vocabulary cannot be used; `data_dir` holds something else.
    """
    if source is None and labels is None and top is None and min_works is None:
        labels = "openclipart40"
    config = tfds_pixiv_dataset_builder.PixivConfig(
        name=_config_name(labels=labels, top=top, min_works=min_works),
        folder=source or folders.SAMPLE,
        vocabulary=labels,
        num_labels=top,
        min_works=min_works,
        implications=implications,
        negatives=negatives,
        max_side_px=max_side_px,
        max_reject_share=max_reject_share,
        twins=twins or "drop",
    )

    def find() -> tuple[pathlib.Path, dataset.Dataset | None]:
        """Returns where the dataset lies, and the one that is there already."""
        builder = tfds_pixiv_dataset_builder.Builder(data_dir=data_dir, config=config)
        directory = pathlib.Path(builder.data_dir)
        if alone:
            directory = _own_folder(data_dir, otherwise=directory)
        if overwrite or not directory.exists():
            return directory, None
        built = dataset.open_dataset(directory)
        _check_up_to_date(built, config, data_dir)
        _check_twins(built, twins)
        return directory, built

    _, built = find()
    if built is not None:
        return built, False
    with file_lock.held(data_dir / ".building", work=f"building in {data_dir}"):
        directory, built = find()
        if built is not None:
            return built, False
        with _set_aside(directory):
            # Anew, because the first one has read the labels of what was there.
            builder = tfds_pixiv_dataset_builder.Builder(
                data_dir=data_dir, config=config
            )
            # TFDS prints that it is downloading, where nothing is.
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare()
        return dataset.open_dataset(directory), True


def build_as_configured(config: config_dict.ConfigDict, *, begun: bool = False) -> None:
    """Builds what `config.build` names under `config.data_dir`; nothing without one.

    Args:
        config: The config.
        begun: A run of it has begun, and knows its dataset: where the source is there
            no more, the dataset stays as it is.

    Raises:
        FileNotFoundError, ValueError: as `build`.
    """
    chosen = config.build
    if not chosen.source:
        return
    is_sample = chosen.source == "sample"
    data_dir = pathlib.Path(config.data_dir).expanduser()
    try:
        build(
            None if is_sample else pathlib.Path(chosen.source).expanduser(),
            data_dir,
            labels=chosen.labels or None,
            top=chosen.top or None,
            min_works=chosen.min_works or None,
            implications=chosen.implications or None,
            negatives=chosen.get("negatives", "drop"),  # configs of before lack it
            max_side_px=chosen.get("max_side", 512),
            twins=chosen.get("twins") or None,
            alone=True,
        )
    except FileNotFoundError as error:
        if not begun or not dataset.version_folders(data_dir):
            raise
        logging.warning("%s; the run goes on with the dataset in %s", error, data_dir)


def _own_folder(data_dir: pathlib.Path, *, otherwise: pathlib.Path) -> pathlib.Path:
    """Returns the version folder of the only dataset in a folder that is its own.

    Raises:
        ValueError: there are several, or none and other things.
    """
    if dataset.version_folders(data_dir):
        return dataset.open_dataset(data_dir).directory
    names = sorted(path.name for path in data_dir.glob("*"))
    if others := [name for name in names if not _NO_CONTENT.fullmatch(name)]:
        raise ValueError(
            f"config.data_dir={data_dir} holds other things than a dataset "
            f"({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}), and "
            "config.build.source would be built beside them; give the dataset a folder "
            "of its own"
        )
    return otherwise


def _config_name(*, labels: str | None, top: int | None, min_works: int | None) -> str:
    """Returns the name of the subfolder in which the dataset lies."""
    if top is not None:
        return f"top{top}"
    if min_works is not None:
        return f"all{min_works}"
    if labels is not None:
        return re.sub(r"[^\w-]", "_", pathlib.Path(labels).stem)
    return "labels"  # of the labels.csv in the folder


def _check_up_to_date(
    built: dataset.Dataset,
    config: tfds_pixiv_dataset_builder.PixivConfig,
    data_dir: pathlib.Path,
) -> None:
    """Raises ValueError if the dataset is not what would be built now."""
    assert config.folder is not None  # `build` always names one
    with selection.open_source(config.folder, scratch_dir=data_dir) as folder:
        wanted: dict[str, Any] = build_record.identity(
            tfds_pixiv_dataset_builder.select(folder, config)
        )
    wanted["max_side_px"] = config.max_side_px
    found = built.build_record()
    found |= found["settings"]
    if different := [key for key in wanted if found[key] != wanted[key]]:
        raise ValueError(
            f"{built.directory} was built from other pictures, tags or labels, or "
            f"otherwise, than is asked for now ({', '.join(different)} differ); use "
            "another data_dir, or this one as it is (--config.build.source=), or "
            "replace it (mlgcn build --overwrite)"
        )


def _check_twins(built: dataset.Dataset, wanted: twin_record.Policy | None) -> None:
    """Raises ValueError if other twins are asked for than the dataset has."""
    # Before there was a choice, they were kept.
    found = built.build_record()["settings"].get("twins", "keep")
    if wanted not in (None, found):
        raise ValueError(
            f"{built.directory} was built with twins={found}, not {wanted}; use "
            "another --data_dir, or --overwrite to replace it"
        )


@contextlib.contextmanager
def _set_aside(directory: pathlib.Path) -> Iterator[None]:
    """Keeps what is in the folder until the block has filled it anew."""
    aside = directory.with_name(f"{dataset.INCOMPLETE}replaced.{directory.name}")
    if aside.exists():  # left by a build that was killed
        shutil.rmtree(aside)
    if directory.exists():
        directory.rename(aside)
    try:
        yield
    except BaseException:
        if aside.exists():
            aside.rename(directory)
        raise
    if aside.exists():
        shutil.rmtree(aside)
