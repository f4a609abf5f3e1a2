"""Small rotations."""

import jax
import jax.numpy as jnp
from jax.scipy import ndimage
from jaxtyping import Array, Key

from mlgcn_jax.data import letterboxes, options
from mlgcn_jax.learning.augmentations import boxes, contract, pixels

OPTIONS = {
    "rotation": options.Option(
        0.0, "degrees that each picture is turned at most, either way; 0: not", 0, 180
    )
}


def rotate(
    batch: contract.Batch, key: Key[Array, ""], *, degrees: float, pad_colour: str
) -> contract.Batch:
    """Returns pictures turned about their centres, bilinear, each in its own frame.

    As in torchvision's RandomRotation, corners that leave the frame are cut off, and
    those that come free get the colour of the border; the size of the picture stays.
    """
    image = batch["image"]
    side = image.shape[1]
    angle = jax.random.uniform(key, (len(image),), minval=-degrees, maxval=degrees)
    angle = jnp.deg2rad(angle)[:, None, None]
    frame = boxes.of_pictures(batch["size"], side)
    top, left, height, width = (x[:, None, None] for x in frame)

    # Where each pixel comes from; centres of pixels lie at whole numbers.
    y, x = jnp.arange(side)[None, :, None], jnp.arange(side)[None, None, :]
    middle_y, middle_x = top + (height - 1) / 2, left + (width - 1) / 2
    down, right = y - middle_y, x - middle_x
    from_y = middle_y + jnp.cos(angle) * down + jnp.sin(angle) * right  # [b, s, s]
    from_x = middle_x + jnp.cos(angle) * right - jnp.sin(angle) * down

    last_y, last_x = top + height - 1, left + width - 1
    is_inside = (top - 0.5 <= from_y) & (from_y < last_y + 0.5)
    is_inside &= (left - 0.5 <= from_x) & (from_x < last_x + 0.5)
    turned = _sample(
        image.astype(jnp.float32),
        jnp.clip(from_y, top, last_y),
        jnp.clip(from_x, left, last_x),
    )
    colour = jnp.asarray(letterboxes.PAD_COLOURS[pad_colour], jnp.uint8)
    turned = jnp.where(
        is_inside[..., None], pixels.to_uint8(turned), colour.reshape(1, 1, 1, 3)
    )
    return batch | {"image": jnp.where(frame.mask(side), turned, image)}


def _sample(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Returns values between pixels, bilinear; all are within the image."""

    def sample(channel, y, x):
        return ndimage.map_coordinates(channel, [y, x], order=1, mode="nearest")

    of_channels = jax.vmap(sample, in_axes=(2, None, None), out_axes=2)
    return jax.vmap(of_channels)(image, y, x)
