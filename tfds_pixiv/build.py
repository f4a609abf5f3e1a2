"""Builds a dataset without TensorFlow's tooling, or finds that it is built already."""

import contextlib
import io
import pathlib
import re
import shutil
from collections.abc import Iterator

from mlgcn_jax.data import config_dict, dataset, folders
from tfds_pixiv import (
    build_record,
    selection,
    tfds_pixiv_dataset_builder,
    twin_record,
)


def build(
    source: pathlib.Path | None,
    data_dir: pathlib.Path,
    *,
    labels: str | None = None,
    top: int | None = None,
    min_works: int | None = None,
    implications: str | None = None,
    max_reject_share: float = 0.05,
    twins: twin_record.Policy | None = None,
    overwrite: bool = False,
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
        max_reject_share: Largest share of pictures that may be unusable, in [0, 1].
        twins: "drop" or "keep" for training pictures that are copies of validation
            pictures; None: drop, and leave a dataset that is there as it is.
        overwrite: Replace the dataset that is there; if the build fails it stays.

    Raises:
        FileNotFoundError: There is no such source, or it has no vocabulary.
        ValueError: The dataset is there already, from another source or vocabulary; or
            the source or the vocabulary cannot be used.
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
        max_reject_share=max_reject_share,
        twins=twins or "drop",
    )
    builder = tfds_pixiv_dataset_builder.Builder(data_dir=data_dir, config=config)
    directory = pathlib.Path(builder.data_dir)
    if directory.exists() and not overwrite:
        built = dataset.open_dataset(directory)
        _check_up_to_date(built, config, data_dir)
        _check_twins(built, twins)
        return built, False
    with _set_aside(directory):
        # Anew, because the first one has read the labels of a dataset that was there.
        builder = tfds_pixiv_dataset_builder.Builder(data_dir=data_dir, config=config)
        # TFDS prints that it is downloading, where nothing is.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    return dataset.open_dataset(directory), True


def build_as_configured(config: config_dict.ConfigDict) -> None:
    """Builds what `config.build` names under `config.data_dir`; nothing without one.

    Raises:
        FileNotFoundError, ValueError: as `build`.
    """
    chosen = config.build
    if not chosen.source:
        return
    build(
        None if chosen.source == "sample" else pathlib.Path(chosen.source).expanduser(),
        pathlib.Path(config.data_dir).expanduser(),
        labels=chosen.labels or None,
        top=chosen.top or None,
        min_works=chosen.min_works or None,
        implications=chosen.implications or None,
        twins=chosen.get("twins") or None,
    )


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
        wanted = build_record.identity(
            tfds_pixiv_dataset_builder.select(folder, config)
        )
    found = built.build_record()
    if different := [key for key in wanted if found[key] != wanted[key]]:
        raise ValueError(
            f"{built.directory} was built from other pictures, tags or labels than "
            f"are asked for now ({', '.join(different)} differ); use another "
            "--data_dir, or --overwrite to replace it"
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
