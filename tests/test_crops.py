"""Random parts of training pictures: boxes, filters, and Pillow's own arithmetic."""

import collections
import io

import numpy as np
import pytest
from PIL import Image

from mlgcn_jax.data import crops, images, letterboxes, stored_jpeg

SIZE = (60, 40)


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(size=SIZE):
    noise = rng().integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def pictures_part(square, size):
    height, width = size
    top, left = (len(square) - height) // 2, (len(square) - width) // 2
    return square[top : top + height, left : left + width]


def read(content, side, **options):
    square = np.full((side, side, 3), 77, np.uint8)
    return square, stored_jpeg.letterbox(content, square, **options)


# --- Boxes ---


@pytest.mark.parametrize(
    ("size", "lefts", "tops"),
    [((60, 40), 21, 1), ((40, 60), 1, 21), ((40, 40), 1, 1)],
)
def test_a_random_square_is_as_large_as_the_short_side(size, lefts, tops):
    boxes = [crops.random_square(size, rng(seed)) for seed in range(400)]
    for left, top, right, bottom in boxes:
        assert (right - left, bottom - top) == (40, 40)
        assert left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
    # Every place is found, the first and the last too.
    assert len({box[0] for box in boxes}) == lefts
    assert len({box[1] for box in boxes}) == tops


def test_a_random_box_keeps_its_ranges():
    shares, ratios = [], []
    for seed in range(1000):
        left, top, right, bottom = crops.random_resized(
            (600, 400), rng(seed), area=(0.3, 0.6), ratio=(0.5, 2.0)
        )
        assert 0 <= left < right <= 600 and 0 <= top < bottom <= 400
        shares.append((right - left) * (bottom - top) / (600 * 400))
        ratios.append((right - left) / (bottom - top))
    # Sides are rounded: half a pixel of 200.
    assert 0.3 * 0.99 < min(shares) < 0.31 and 0.59 < max(shares) < 0.6 * 1.01
    assert 0.5 * 0.99 < min(ratios) < 0.6 and 1.8 < max(ratios) < 2.0 * 1.01


@pytest.mark.parametrize(
    ("area", "ratio", "expected"),
    [
        ((0.25, 0.25), (1.5, 1.5), (30, 20)),  # half of each side of 60 x 40
        ((1.0, 1.0), (1.5, 1.5), (60, 40)),
        ((0.5, 0.5), (3.0, 3.0), (60, 20)),
        ((1.0, 1.0), (1.0, 1.0), (60, 40)),  # 49 x 49 fits nowhere: all of it
    ],
)
def test_boxes_by_hand(area, ratio, expected):
    box = crops.random_resized(SIZE, rng(), area=area, ratio=ratio)
    left, top, right, bottom = box
    assert (right - left, bottom - top) == expected


# --- Decoding ---


@pytest.mark.parametrize("name", crops.RESIZE_FILTERS)
@pytest.mark.parametrize("box", [(0, 0, 60, 40), (7, 3, 41, 40), (10, 5, 11, 6)])
@pytest.mark.parametrize("side", [16, 34, 96])
def test_a_part_is_resized_as_pillow_does(name, box, side):
    resample = crops.RESIZE_FILTERS[name]
    content = images.encode_jpeg(picture())
    square, size = read(content, side, choose_box=lambda _: box, resample=resample)
    height, width = size
    assert max(size) == side
    expected = images.load_rgb(content).resize((width, height), resample, box=box)
    np.testing.assert_array_equal(pictures_part(square, size), np.asarray(expected))
    of_pillow = letterboxes.letterbox(
        images.load_rgb(content), side, crop_box=box, resample=resample
    )
    np.testing.assert_array_equal(square, of_pillow)


@pytest.mark.parametrize("name", crops.RESIZE_FILTERS)
def test_a_part_of_the_right_size_is_cut_out(name):
    """Whatever the filter: nothing is resampled."""
    content = images.encode_jpeg(picture())
    square, size = read(
        content,
        32,
        choose_box=lambda _: (20, 5, 52, 30),
        resample=crops.RESIZE_FILTERS[name],
    )
    assert size == (25, 32)
    expected = images.load_rgb(content).crop((20, 5, 52, 30))
    np.testing.assert_array_equal(pictures_part(square, size), np.asarray(expected))


def test_the_box_is_chosen_for_the_upright_picture():
    asked = []
    tags = Image.Exif()
    tags[0x0112] = 6  # turned by 90 degrees
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", exif=tags)

    def choose(size):
        asked.append(size)
        return 0, 0, *size

    _, size = read(buffer.getvalue(), 24, choose_box=choose)
    assert asked == [(40, 60)]
    assert size == (24, 16)


@pytest.mark.parametrize("name", letterboxes.PAD_COLOURS)
@pytest.mark.parametrize("side", [60, 24, 90])
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (60, 60), (60, 9)])
def test_the_border_has_its_colour_and_the_picture_its_own(name, side, size):
    content = images.encode_jpeg(picture(size))
    black, _ = read(content, side)
    square, (height, width) = read(content, side, pad_colour=name)
    inside = np.zeros((side, side), bool)
    pictures_part(inside, (height, width))[:] = True
    np.testing.assert_array_equal(square[inside], black[inside])
    assert (square[~inside] == letterboxes.PAD_COLOURS[name]).all()
    assert not black[~inside].any()
    np.testing.assert_array_equal(
        letterboxes.letterbox(images.load_rgb(content), side, pad_colour=name), square
    )


def test_the_mean_colour_is_that_of_imagenet():
    mean = np.array([0.485, 0.456, 0.406])
    assert letterboxes.PAD_COLOURS["mean"] == tuple(np.rint(255 * mean).astype(int))


# --- Draws ---


def test_the_default_reads_the_whole_picture():
    assert crops.create({})(3, 5) == crops.whole_picture(3, 5) == crops.Crop()


def boxes_of(choose, positions, *, seed=0):
    return [choose(seed, position).choose_box((600, 400)) for position in positions]


@pytest.mark.parametrize("kind", ["random", "random_resized"])
def test_seed_and_position_decide(kind):
    choose = crops.create({"crop": kind})
    boxes = boxes_of(choose, range(50))
    assert boxes == boxes_of(crops.create({"crop": kind}), range(50))
    assert boxes[20:] == boxes_of(choose, range(20, 50))
    assert boxes != boxes_of(choose, range(50), seed=1)
    assert len(set(boxes)) > 40
    both = crops.create({"crop": kind, "resize_filter": "random"})
    assert boxes == boxes_of(both, range(50))
    far = 2**62
    assert boxes_of(choose, [far]) != boxes_of(choose, [far + 1])


def test_every_filter_is_as_likely():
    choose = crops.create({"resize_filter": "random"})
    counted = collections.Counter(choose(0, i).resample for i in range(1000))
    assert set(counted) == set(crops.RESIZE_FILTERS.values())
    # Four standard deviations of 250 of 1000.
    assert all(abs(count - 250) < 4 * 13.7 for count in counted.values())


def test_a_filter_is_the_one_that_is_named():
    for name, resample in crops.RESIZE_FILTERS.items():
        assert crops.create({"resize_filter": name})(0, 0) == crops.Crop(None, resample)


def test_ranges_reach_the_boxes():
    choose = crops.create(
        {
            "crop": "random_resized",
            "crop_min_area": 0.25,
            "crop_max_area": 0.25,
            "crop_min_ratio": 1.5,
            "crop_max_ratio": 1.5,
        }
    )
    for left, top, right, bottom in boxes_of(choose, range(20)):
        assert (right - left, bottom - top) == (300, 200)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": "centre"}, "use one of none, random, random_resized"),
        (
            {"resize_filter": "nearest"},
            "use one of bilinear, bicubic, lanczos, box, ra",
        ),
        ({"crop_min_area": 0.0}, "crop_min_area=0.0 must be at least 0.01"),
        ({"crop_max_area": 1.5}, "crop_max_area=1.5 must be at most 1"),
        ({"crop_max_ratio": float("nan")}, "crop_max_ratio=nan must be"),
        ({"crop_min_area": 0.8, "crop_max_area": 0.7}, "is larger than crop_max_area"),
        ({"crop_min_ratio": 2.0}, "is larger than crop_max_ratio=1.33"),
        ({"croop": "none"}, "croop: no such option; there are crop,"),
    ],
)
def test_bad_options(values, message):
    with pytest.raises(ValueError, match=message):
        crops.create(values)
