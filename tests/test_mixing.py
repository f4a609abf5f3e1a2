"""Mixup and CutMix: pictures and labels, by hand and in distribution."""

import jax.numpy as jnp
import numpy as np
import pytest
from augmented_batches import KEY, is_border, make_batch

from mlgcn_jax.learning.augmentations import (
    cutmix,
    mixup,
    partners,
    registry,
)

# --- Mixup ---


def test_labels_are_mixed_by_hand():
    """The partner is the next in the batch; -1 is unknown, and mixed makes unknown."""
    labels = jnp.asarray([[1, 0, -1, -1], [0, 0, 1, -1], [1, 1, 0, 0]], jnp.float32)
    found = partners.mix_labels(labels, jnp.asarray([0.25, 0.5, 0.0]))
    expected = [[0.75, 0, -1, -1], [0.5, 0.5, 0.5, -1], [1, 1, 0, 0]]
    np.testing.assert_array_equal(found, np.asarray(expected, np.float32))


def test_mixup_blends_with_the_next_image_as_much_as_its_labels_say():
    batch = make_batch(num_labels=1)
    own = jnp.arange(64) % 2 == 0  # of each pair one has the label
    batch["labels"] = own[:, None].astype(jnp.float32)
    mixed = mixup.mix_up(batch, KEY, probability=1.0, alpha=1.0)
    label = np.asarray(mixed["labels"])[:, 0]
    weight = np.where(own, label, 1 - label)[:, None, None, None]
    image = np.asarray(batch["image"]).astype(float)
    expected = weight * image + (1 - weight) * np.roll(image, -1, axis=0)
    # Rounding of the image, and of float32.
    assert abs(np.asarray(mixed["image"]) - expected).max() <= 0.5 + 1e-3
    size = np.asarray(batch["size"])
    np.testing.assert_array_equal(
        mixed["size"], np.maximum(size, np.roll(size, -1, axis=0))
    )


def test_lambda_of_mixup_is_of_the_beta_distribution():
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))."""
    count, alpha = 4096, 0.2
    batch = {
        "image": jnp.zeros((count, 1, 1, 3), jnp.uint8),
        "labels": (jnp.arange(count) % 2 == 0)[:, None].astype(jnp.float32),
        "size": jnp.ones((count, 2), jnp.int32),
    }
    mixed = mixup.mix_up(batch, KEY, probability=1.0, alpha=alpha)
    lambda_ = np.abs(np.asarray(mixed["labels"]) - np.asarray(batch["labels"]))
    # Five standard errors: the standard deviation is 0.42, its own error 0.002.
    assert abs(lambda_.mean() - 0.5) < 5 * 0.42 / count**0.5
    assert lambda_.std() == pytest.approx((1 / (4 * (2 * alpha + 1))) ** 0.5, abs=0.01)


def test_mixed_labels_of_sure_ones_stay_between_and_keep_their_sum():
    batch = make_batch()
    for values in ({"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 0.5}):
        mixed = registry.create({"flip": False} | values)(batch, KEY)
        labels = np.asarray(mixed["labels"])
        assert ((labels >= 0) & (labels <= 1)).all()
    # One label each: whatever is mixed, the shares of all labels are 1 together.
    one_hot = batch | {"labels": jnp.eye(64, dtype=jnp.float32)}
    mixed = registry.create({"mixup": 1.0, "cutmix": 1.0})(one_hot, KEY)
    np.testing.assert_allclose(np.asarray(mixed["labels"]).sum(1), 1, atol=1e-6)


# --- CutMix ---


def test_cutmix_pastes_a_box_as_large_as_its_labels_say():
    batch = make_batch(num_labels=1)
    batch["labels"] = (jnp.arange(64) % 2)[:, None].astype(jnp.float32)
    mixed = cutmix.cut_mix(batch, KEY, probability=1.0, alpha=1.0)
    image, found = np.asarray(batch["image"]), np.asarray(mixed["image"])
    others = np.roll(image, -1, axis=0)
    pasted = (found != image).any(-1)
    np.testing.assert_array_equal(found[pasted], others[pasted])
    np.testing.assert_array_equal(mixed["size"], batch["size"])
    share = np.abs(np.asarray(mixed["labels"]) - np.asarray(batch["labels"]))[:, 0]
    area = np.asarray(batch["size"]).prod(1)
    num_pasted = np.rint(share * area)
    np.testing.assert_allclose(num_pasted, share * area, atol=1e-3)
    border = is_border(batch) | is_border({"size": jnp.roll(batch["size"], -1, axis=0)})
    for mask, number, forbidden in zip(pasted, num_pasted, border, strict=True):
        assert not (mask & forbidden).any()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            # Noise has a pixel in a thousand that equals the other's.
            assert number == height * width
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        else:
            assert number == 0
    assert len(set(num_pasted)) > 20


@pytest.mark.parametrize("mirrored", [False, True])
def test_cutmix_pastes_no_border_of_a_mirrored_picture(mirrored):
    batch = make_batch(sizes=((16, 9), (16, 11)), pad=(0, 0, 0))
    if mirrored:
        batch["image"] = batch["image"][:, :, ::-1]
    was_border = np.asarray(batch["image"] == 0).all(-1)
    mixed = cutmix.cut_mix(batch, KEY, probability=1.0, alpha=0.05)
    is_black = np.asarray(mixed["image"] == 0).all(-1)
    np.testing.assert_array_equal(is_black, was_border)
