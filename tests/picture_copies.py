"""Pictures with content, and the ways in which copies of them differ."""

import io

import numpy as np
from picture_files import encode
from PIL import Image, ImageDraw

from mlgcn_jax.data import images
from tfds_pixiv import fingerprints


def scene(seed, size=(240, 320)):
    """Soft blobs of many colours with hard shapes on them."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 5, 3)).astype(np.uint8))
    image = small.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, width, height = (rng.random(4) * (size * 2)).astype(int).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        pen.ellipse((x, y, x + width // 3 + 3, y + height // 3 + 3), fill=colour)
    return image


def fingerprint(image, work="1"):
    stored = images.encode_jpeg(image)
    return fingerprints.fingerprint(image, stored, work_id=work)


def as_jpeg(image, quality):
    content = encode(image, "JPEG", quality=quality)
    return Image.open(io.BytesIO(content)).convert("RGB")


def scaled(image, factor):
    return image.resize([round(factor * side) for side in image.size])


def cropped(image, share):
    width, height = image.size
    left, top = round(share * width), round(share * height)
    return image.crop((left, top, width - left, height - top))
