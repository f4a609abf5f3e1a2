"""Pictures -> examples, decoded and re-encoded by a pool of threads in order.

Second half of the build. Threads are enough: Pillow gives up the interpreter lock
while it decodes, resizes and encodes.
"""

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mlgcn_jax.data import folder_contents, images
from tfds_pixiv import fingerprints, selection

_PICTURES_AHEAD_PER_THREAD = 4


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A picture that can be used.

    Attributes:
        picture: As read from the crawl folder.
        example: What the dataset holds of it.
        fingerprint: By which its twins are found.
    """

    picture: folder_contents.Picture
    example: dict[str, Any]
    fingerprint: Shaped[np.ndarray, ""]


def encode_pictures(
    pictures: Iterable[selection.LabelledPicture], *, max_side_px: int
) -> Iterator[Encoded | folder_contents.Reject]:
    """Yields the example of every picture, or why it has none, in the given order.

    Args:
        pictures: The pictures of one shard.
        max_side_px: Larger pictures are shrunk to this long side.
    """
    num_threads = os.cpu_count() or 1
    remaining = iter(pictures)
    with futures.ThreadPoolExecutor(num_threads) as pool:
        # The window bounds the memory: at most this many encoded pictures wait.
        ahead = itertools.islice(remaining, num_threads * _PICTURES_AHEAD_PER_THREAD)
        window = collections.deque(
            pool.submit(_encode, picture, max_side_px) for picture in ahead
        )
        try:
            while window:
                result = window.popleft().result()
                for picture in itertools.islice(remaining, 1):
                    window.append(pool.submit(_encode, picture, max_side_px))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(
    labelled: selection.LabelledPicture, max_side_px: int
) -> Encoded | folder_contents.Reject:
    picture = labelled.picture
    try:
        image = images.load_rgb(picture.path)
        stored = images.encode_jpeg(image, max_side_px=max_side_px)
    except images.ImageError as error:
        return folder_contents.Reject(
            picture.id, picture.page, picture.path.name, reason=str(error)
        )
    example = {
        "image": stored,
        "id": picture.id,
        "page": picture.page,
        "labels": labelled.labels,
        "tags": picture.tags,
        "title": picture.title,
        "user": picture.user,
        "width": image.width,
        "height": image.height,
    }
    fingerprint = fingerprints.fingerprint(image, stored, work_id=picture.id)
    return Encoded(picture, example, fingerprint)
