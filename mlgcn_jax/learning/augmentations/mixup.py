"""Mixup (Zhang et al. 2018, arXiv:1710.09412)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from mlgcn_jax.data import options
from mlgcn_jax.learning.augmentations import contract, partners, pixels

OPTIONS = {
    "mixup": options.Option(0.0, "share of images mixed with another", 0, 1),
    "mixup_alpha": options.Option(
        0.2, "of the mixed share's distribution, Beta(alpha, alpha)", 0.01, 100
    ),
}


def mix_up(
    batch: contract.Batch, key: Key[Array, ""], *, probability: float, alpha: float
) -> contract.Batch:
    """Returns images and labels, lambda of each and 1 - lambda of another.

    Lambda is of Beta(alpha, alpha), for each image its own. The picture's size becomes
    that around both pictures.
    """
    image = batch["image"]
    is_key, beta_key = jax.random.split(key)
    is_mixed = jax.random.bernoulli(is_key, probability, (len(image),))
    lambda_ = jax.random.beta(beta_key, alpha, alpha, (len(image),))
    share = jnp.where(is_mixed, 1 - lambda_, 0.0)
    weight = share[:, None, None, None]
    others = partners.of_each(image).astype(jnp.float32)
    size = batch["size"]
    around = jnp.maximum(size, partners.of_each(size))
    return batch | {
        "image": pixels.to_uint8((1 - weight) * image + weight * others),
        "labels": partners.mix_labels(batch["labels"], share),
        "size": jnp.where((share > 0)[:, None], around, size),
    }
