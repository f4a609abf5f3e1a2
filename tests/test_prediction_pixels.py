"""Prediction sees of a picture file the pixels that its dataset makes of it."""

import io
import pathlib

import configurations
import crawl_folders
import numpy as np
import pytest
from PIL import Image

from mlgcn_jax.data import dataset, images, input_pipeline, letterboxes, stored_jpeg
from mlgcn_jax.evaluation import evaluate, scoring
from mlgcn_jax.runs import mesh as meshes
from mlgcn_jax.runs import trained_model
from mlgcn_jax.serving import predict
from mlgcn_jax.training import train

MAX_SIDE_PX = 56
SIZES_PX = (56, 32, 80)  # as stored, smaller, larger


def encode(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def transparent(image: Image.Image) -> Image.Image:
    ramp = np.linspace(0, 255, image.width).astype(np.uint8)
    image.putalpha(Image.fromarray(np.tile(ramp, (image.height, 1))))
    return image


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


# Size in px, and how the file is made of a picture.
KINDS = {
    "PNG": ((40, 30), lambda image: encode(image, "PNG")),
    "large PNG": ((300, 200), lambda image: encode(image, "PNG")),
    "of the stored size": ((56, 40), lambda image: encode(image, "PNG")),
    "transparent": ((90, 120), lambda image: encode(transparent(image), "PNG")),
    "palette": ((64, 64), lambda image: encode(image.convert("P"), "GIF")),
    "small JPEG": ((40, 56), lambda image: encode(image, "JPEG", quality=70)),
    "large JPEG": ((150, 200), lambda image: encode(image, "JPEG", subsampling=0)),
    "turned JPEG": ((70, 40), lambda image: encode(image, "JPEG", exif=turned())),
    "stored JPEG": ((50, 50), lambda image: images.encode_jpeg(image)),
}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("data") / "crawl"
    crawl_folders.make_crawl_folder(folder)
    for index in range(4 * len(KINDS)):
        size, make_file = list(KINDS.values())[index % len(KINDS)]
        image = crawl_folders.draw("square", "blue", size=size, seed=500 + index)
        crawl_folders.add_picture(
            folder, make_file(image), id=5000 + index, tags=["square", "blue"]
        )
    return folder


@pytest.fixture(scope="module")
def data(crawl) -> dataset.Dataset:
    return crawl_folders.build_dataset(
        crawl, crawl.parent / "built", max_side_px=MAX_SIDE_PX
    )


def squares(data: dataset.Dataset, split: str, image_size: int) -> np.ndarray:
    """What evaluation gives the model."""
    (batch,) = input_pipeline.evaluation_batches(
        data,
        split,
        image_size=image_size,
        batch_size=data.num_examples(split),
        num_threads=0,
        pad_colour="white",
    )
    return batch["image"]


def files_of(data: dataset.Dataset, split: str, crawl: pathlib.Path):
    return [crawl_folders.picture_of(crawl, x) for x in data.examples(split)]


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("image_size", SIZES_PX)
def test_a_file_becomes_what_its_dataset_makes_of_it(split, image_size, data, crawl):
    expected = squares(data, split, image_size)
    for path, square in zip(files_of(data, split, crawl), expected, strict=True):
        found = stored_jpeg.letterbox_file(
            path, image_size, max_side_px=MAX_SIDE_PX, pad_colour="white"
        )
        np.testing.assert_array_equal(found, square, err_msg=path.name)


def test_every_kind_is_shown_other_pixels_otherwise(data, crawl):
    """So that the test above could fail: the file itself is letterboxed here."""
    expected = squares(data, "train", 32)
    for path, square in zip(files_of(data, "train", crawl), expected, strict=True):
        straight = letterboxes.letterbox(images.load_rgb(path), 32, pad_colour="white")
        assert (straight != square).any(), path.name


def test_the_model_is_given_these_pixels_and_gives_these_scores(
    data, crawl, tmp_path, monkeypatch
):
    config = configurations.tiny(
        str(data.directory), num_epochs=1, pad_colour="white", image_size=32
    )
    assert train.train_and_evaluate(config, tmp_path) is None
    mesh = meshes.create_mesh()
    model = trained_model.open_run(tmp_path, mesh)
    assert model.max_side_px == MAX_SIDE_PX
    evaluate.evaluate_run(model, data, mesh, split="validation")
    evaluated = np.load(model.folder.predictions)["scores"]

    given = []
    score = scoring.Scorer.__call__

    def recorded(self, image):
        given.append(image.copy())
        return score(self, image)

    monkeypatch.setattr(scoring.Scorer, "__call__", recorded)
    paths = files_of(data, "validation", crawl)
    predictions = list(predict.predict(model, paths, mesh))
    np.testing.assert_array_equal(
        np.concatenate(given), squares(data, "validation", 32)
    )
    # Other batches, so that sums may be taken in another order.
    scores = np.stack([p.scores for p in predictions])
    np.testing.assert_allclose(scores, evaluated, rtol=1e-4, atol=1e-6)


def test_where_a_dataset_hands_out_files_they_are_read_as_they_are(crawl):
    for path in sorted(crawl.rglob("*.png"))[:3]:
        found = stored_jpeg.letterbox_file(path, 32, max_side_px=None)
        expected = letterboxes.letterbox(images.load_rgb(path), 32)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(images.ImageError, match="cannot be read"):
        stored_jpeg.letterbox_file(crawl / "none.png", 32, max_side_px=None)


def test_a_picture_that_no_dataset_holds_is_refused_as_there(tmp_path):
    path = tmp_path / "long.png"
    Image.new("RGB", (8, 600)).save(path)
    with pytest.raises(images.ImageError, match="too long: 8 x 600"):
        stored_jpeg.letterbox_file(path, 32, max_side_px=MAX_SIDE_PX)
