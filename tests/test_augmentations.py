"""Augmentations on the device: by hand, against Pillow, and what they draw."""

import hashlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from augmented_batches import (
    KEY,
    assert_equal_batches,
    is_border,
    make_batch,
    pictures_of,
)
from PIL import Image, ImageEnhance

from mlgcn_jax.data import letterboxes, options
from mlgcn_jax.learning.augmentations import (
    colour,
    erasing,
    flip,
    pixels,
    registry,
    rotation,
)
from mlgcn_jax.runs import mesh as meshes

STRONG = {
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
    "greyscale": 0.5,
    "rotation": 40.0,
    "erasing": 0.7,
    "cutmix": 0.7,
    "mixup": 0.7,
}
PAIRS = {"cutmix", "mixup"}  # tests of their own say what they do to the border


# --- Flip ---


def test_the_flip_draws_the_bits_that_it_always_drew():
    """Recorded before there was any other augmentation (commit 028a57e)."""
    image = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3))
    batch = make_batch() | {"image": jnp.asarray(image, jnp.uint8)}
    key = jax.random.fold_in(jax.random.key(7), 11)
    found = registry.create({})(batch, key)
    digest = hashlib.sha256(np.asarray(found["image"]).tobytes()).hexdigest()
    assert digest == "534c03a9b59c770e6461e71428c373aad519bbb8fb1bd64898e9e0991def2251"
    assert_equal_batches(found | {"image": batch["image"]}, batch)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
    batch = make_batch()
    flipped = np.asarray(flip.flip_horizontally(batch, KEY)["image"])
    image = np.asarray(batch["image"])
    same = (flipped == image).all((1, 2, 3))
    mirrored = (flipped == image[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 12 <= mirrored.sum() <= 52  # 64 fair coins: five standard deviations


# --- Erasing ---


def erased_by(batch, fill, *, area=(0.02, 0.4), max_ratio=10 / 3, probability=1.0):
    return erasing.erase(
        batch, KEY, probability=probability, area=area, max_ratio=max_ratio, fill=fill
    )


@pytest.mark.parametrize("fill", letterboxes.PAD_COLOURS)
def test_erasing_fills_a_box_of_the_picture(fill):
    batch = make_batch(pad=(0, 255, 0))
    found = erased_by(batch, fill)
    image, after = np.asarray(batch["image"]), np.asarray(found["image"])
    changed = (after != image).any(-1)
    assert (after[changed] == letterboxes.PAD_COLOURS[fill]).all()
    assert not (changed & is_border(batch)).any()
    for mask, (height, width) in zip(changed, np.asarray(batch["size"]), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box_height, box_width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert mask.sum() == box_height * box_width
        # Each side is rounded: half a pixel more.
        assert (box_height - 0.5) * (box_width - 0.5) <= 0.4 * height * width + 1e-3
    np.testing.assert_array_equal(found["labels"], batch["labels"])


def test_the_box_of_a_share_and_ratio_has_the_sides_by_hand():
    """A quarter of 16 x 16 as a square: 8 x 8; all of it: all of it."""
    batch = make_batch(sizes=((16, 16),))
    for share, side in ((0.25, 8), (1.0, 16), (0.0, 0)):
        after = erased_by(batch, "white", area=(share, share), max_ratio=1.0)
        is_white = np.asarray(after["image"] == 255).all(-1)
        assert (is_white.sum((1, 2)) == side * side).all()


def test_a_box_longer_than_the_picture_is_cut():
    batch = make_batch(sizes=((16, 2),))
    after = erased_by(batch, "white", area=(1.0, 1.0), max_ratio=1.0)
    # 32 px as a square are 6 x 6, of which 6 x 2 are picture.
    assert (np.asarray(after["image"] == 255).all(-1).sum((1, 2)) == 12).all()


def test_noise_differs_from_image_to_image():
    after = erased_by(make_batch(), "noise", area=(1.0, 1.0), max_ratio=1.0)
    square = np.asarray(after["image"])[::4]  # whole images
    assert len({image.tobytes() for image in square}) == len(square)
    assert abs(square.mean() - 127.5) < 5 * 74 / square.size**0.5


# --- Colour ---


def test_luma_is_pillows():
    batch = make_batch()
    found = np.asarray(pixels.luma(batch["image"]))[..., 0]
    for image, grey in zip(np.asarray(batch["image"]), found, strict=True):
        np.testing.assert_array_equal(
            grey, np.asarray(Image.fromarray(image).convert("L"))
        )


@pytest.mark.parametrize(
    ("jitter", "enhancer"),
    [
        (colour.jitter_brightness, ImageEnhance.Brightness),
        (colour.jitter_contrast, ImageEnhance.Contrast),
        (colour.jitter_saturation, ImageEnhance.Color),
    ],
)
def test_jitter_is_pillows(jitter, enhancer):
    batch = make_batch()
    found = jitter(batch, KEY, strength=0.8)
    factors = np.asarray(colour._factors(batch, KEY, 0.8)).ravel()
    assert factors.min() < 0.5 and factors.max() > 1.5
    for before, after, factor in zip(
        pictures_of(batch), pictures_of(found), factors, strict=True
    ):
        expected = enhancer(Image.fromarray(before)).enhance(float(factor))
        # Pillow cuts fractions off, and rounds the mean that contrast starts from.
        difference = after.astype(int) - np.asarray(expected).astype(int)
        assert abs(difference).max() <= 2


def test_greyscale_by_hand():
    """(255, 0, 0): 0.299 * 255 = 76.2."""
    red = jnp.zeros((2, 4, 4, 3), jnp.uint8).at[..., 0].set(255)
    size = jnp.full((2, 2), 4, jnp.int32)
    found = colour.make_grey({"image": red, "size": size}, KEY, probability=1.0)
    assert (np.asarray(found["image"]) == 76).all()


# --- Rotation ---


@pytest.mark.parametrize("pad_colour", letterboxes.PAD_COLOURS)
def test_rotation_is_pillows(pad_colour):
    pad = letterboxes.PAD_COLOURS[pad_colour]
    batch = make_batch(pad=pad)
    found = rotation.rotate(batch, KEY, degrees=30.0, pad_colour=pad_colour)
    angles = jax.random.uniform(KEY, (64,), minval=-30, maxval=30)
    for before, after, angle in zip(
        pictures_of(batch), pictures_of(found), np.asarray(angles), strict=True
    ):
        expected = np.asarray(
            Image.fromarray(before).rotate(
                float(angle), Image.Resampling.BILINEAR, fillcolor=pad
            )
        )
        difference = abs(after.astype(int) - expected.astype(int)).max(-1)
        # A pixel on the very edge may fall to either side.
        assert (difference > 1).sum() <= 1
    np.testing.assert_array_equal(found["size"], batch["size"])


def test_no_rotation_changes_nothing():
    batch = make_batch()
    found = rotation.rotate(batch, KEY, degrees=0.0, pad_colour="white")
    assert_equal_batches(found, batch)


# --- All ---


@pytest.mark.parametrize("pad_colour", letterboxes.PAD_COLOURS)
@pytest.mark.parametrize("name", sorted(STRONG.keys() - PAIRS))
def test_the_border_stays_the_border(name, pad_colour):
    pad = letterboxes.PAD_COLOURS[pad_colour]
    batch = make_batch(pad=pad)
    values = {"flip": False, name: STRONG[name]}
    found = registry.create(values, pad_colour=pad_colour)(batch, KEY)
    assert (np.asarray(found["image"])[is_border(batch)] == pad).all()
    assert (np.asarray(found["image"]) != np.asarray(batch["image"])).any()


@pytest.mark.parametrize("name", STRONG)
def test_the_key_decides_and_the_devices_do_not(name):
    batch = make_batch(count=16)
    augment = jax.jit(registry.create({name: STRONG[name]}))
    found = []
    for num_devices in (1, 8):
        mesh = meshes.arrange(jax.devices()[:num_devices], label_shards=1)
        sharded = jax.device_put(batch, meshes.batch_sharded(mesh))
        for seed in (0, 0, 1):
            key = jax.device_put(jax.random.key(seed), meshes.replicated(mesh))
            found.append(jax.device_get(augment(sharded, key)))
    one, again, other, eight = found[:4]
    assert_equal_batches(one, again)
    assert (other["image"] != one["image"]).any()
    for part in ("labels", "size"):
        np.testing.assert_array_equal(eight[part], one[part])
    # Another program may round a product otherwise, and then a level next to a half.
    difference = abs(eight["image"].astype(int) - one["image"].astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_what_else_is_on_changes_nothing_of_what_one_draws():
    """Erasing white and no colour: the boxes are the same with and without a flip."""
    batch = make_batch(sizes=((16, 16),))
    white = {"erasing": 0.5, "erasing_fill": "white"}
    alone = registry.create({"flip": False} | white)(batch, KEY)
    greyed = registry.create({"flip": False, "greyscale": 0.5} | white)(batch, KEY)
    is_white = [np.asarray(x["image"] == 255).all(-1) for x in (alone, greyed)]
    np.testing.assert_array_equal(*is_white)


def test_streams_have_keys_of_their_own():
    """Nor are they the first numbers, from which the flip counts."""
    numbers = [zlib.crc32(name.encode()) for name in STRONG]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > 2**20


def test_no_key_is_used_twice():
    """Of those that JAX watches: the flip's is also what the others' are made of."""
    augment = jax.jit(registry.create(STRONG))
    with jax.debug_key_reuse(True):
        augment(make_batch(count=4), jax.random.key(0))


@pytest.mark.parametrize("name", ["greyscale", "erasing", "cutmix", "mixup"])
@pytest.mark.parametrize("probability", [0.25, 0.9])
def test_probabilities_are_frequencies(name, probability):
    count = 1024
    batch = make_batch(count=count, sizes=((16, 16),), num_labels=1)
    values = {"flip": False, name: probability}
    # Boxes of at least a pixel: Beta(100, 100) keeps to the middle.
    values |= {f"{name}_alpha": 100.0} if name in PAIRS else {}
    found = registry.create(values)(batch, KEY)
    changed = (np.asarray(found["image"]) != np.asarray(batch["image"])).any((1, 2, 3))
    error = (probability * (1 - probability) / count) ** 0.5
    assert abs(changed.mean() - probability) < 4 * error


def test_nothing_turned_on_changes_nothing():
    batch = make_batch()
    assert_equal_batches(registry.create({"flip": False})(batch, KEY), batch)


# --- Options ---


def test_only_the_flip_is_on_by_default():
    switches = {name: registry.OPTIONS[name].default for name in (*STRONG, "flip")}
    assert switches == dict.fromkeys(STRONG, 0.0) | {"flip": True}


@pytest.mark.parametrize(
    "name", [n for n, o in registry.OPTIONS.items() if isinstance(o.default, float)]
)
def test_numbers_out_of_range_are_refused(name):
    option = registry.OPTIONS[name]
    assert option.meaning
    for value in (option.least - 0.01, option.most + 0.01, float("nan")):
        with pytest.raises(ValueError, match=f"^{name}=.* must be at (least|most)"):
            registry.create({name: value})
    with pytest.raises(ValueError, match=f"^{name}='1' must be a number"):
        registry.create({name: "1"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flop": True}, "flop: no such option; there are brightness,"),
        ({"flip": 1}, "flip=1 must be True or False"),
        ({"erasing_fill": "pink"}, "use one of noise, black, white, mean"),
        ({"erasing_min_area": 0.5}, "is larger than erasing_max_area=0.4"),
        ({"foreign": "a:b"}, "must be a list of strings"),
        ({"foreign": 3}, "must be a list of strings"),
    ],
)
def test_bad_options(values, message):
    with pytest.raises(ValueError, match=message):
        registry.check(values, batch_size=8)


def test_a_bad_pad_colour():
    with pytest.raises(ValueError, match="pad_colour='pink' is not known"):
        registry.create({}, pad_colour="pink")


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_one_image_cannot_be_mixed(name):
    with pytest.raises(ValueError, match=rf"{name}=0.5 .* batch_size=1; use at least"):
        registry.check({name: 0.5}, batch_size=1)
    registry.check({name: 0.5}, batch_size=2)
    registry.check({name: 0.0}, batch_size=1)


def test_a_whole_number_is_a_number_and_true_is_none():
    share = {"x": options.Option(0.0, "", 0, 1)}
    resolved = options.resolve(share, {"x": 1})
    assert resolved == {"x": 1.0} and isinstance(resolved["x"], float)
    with pytest.raises(ValueError, match="x=True must be a number"):
        options.resolve(share, {"x": True})
