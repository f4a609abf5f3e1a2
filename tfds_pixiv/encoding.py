"""Pictures -> examples, decoded and re-encoded by a pool of threads in order.

Second half of the build. Threads are enough: Pillow gives up the interpreter lock
while it decodes, resizes and encodes.
"""

import collections
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import Any

from mlgcn_jax.data import folder_contents, images
from tfds_pixiv import selection

_PICTURES_AHEAD_PER_THREAD = 4


def encode_pictures(
    pictures: Iterable[selection.LabelledPicture], *, max_side_px: int
) -> Iterator[dict[str, Any] | folder_contents.Reject]:
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
) -> dict[str, Any] | folder_contents.Reject:
    picture = labelled.picture
    try:
        image = images.load_rgb(picture.path)
    except images.ImageError as error:
        return folder_contents.Reject(
            picture.id, picture.page, picture.path.name, reason=str(error)
        )
    return {
        "image": images.encode_jpeg(image, max_side_px=max_side_px),
        "id": picture.id,
        "page": picture.page,
        "labels": labelled.labels,
        "tags": picture.tags,
        "title": picture.title,
        "user": picture.user,
        "width": image.width,
        "height": image.height,
    }
