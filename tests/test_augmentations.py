import jax
import jax.numpy as jnp
import numpy as np

from mlgcn_jax.training import augmentations


def images(*, size: int = 16, count: int = 64) -> jax.Array:
    values = np.random.default_rng(0).integers(0, 256, (count, size, size, 3))
    return jnp.asarray(values, jnp.uint8)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
    image = images()
    flipped = np.asarray(augmentations.flip_horizontally(image, jax.random.key(0)))
    image = np.asarray(image)
    same = (flipped == image).all((1, 2, 3))
    mirrored = (flipped == image[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48  # 64 fair coins: five standard deviations
