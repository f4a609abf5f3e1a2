"""Finds which crop of one thumbnail another one is, so that the rest can be compared.

Along each axis a crop is a shift and a zoom. They are found by a few steps of
Gauss-Newton on the brightness, as Lucas and Kanade (1981) register images.
"""

import numpy as np
from jaxtyping import Bool, Float

MARGIN = 0.08  # of the picture on each side: what a crop of one of them cuts off

_STEPS = 3
_MAX_SHIFT = 0.035  # of the picture; a zoom may be twice that
_MAX_OUTSIDE = 0.006  # of the picture; how far a crop may seem to reach beyond it
_DAMPING = 30.0  # keeps the solution small where the picture has no detail


def align(
    first: Float[np.ndarray, "n c s s"], second: Float[np.ndarray, "n c s s"]
) -> tuple[Float[np.ndarray, "n c s s"], Bool[np.ndarray, " n"]]:
    """Returns the first pictures moved onto the second, and which moves are a crop.

    A move is one of a crop if it stays within the picture on both axes, of the first
    picture or of the second.

    Args:
        first: Levels in 0..255, smooth: without edges sharper than a pixel.
        second: Of the same pictures, or of others.
    """
    num_pairs, _, _, side = first.shape
    centres = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    inside = inner_weights(side)
    moves = np.zeros((num_pairs, 4), np.float32)  # shift, zoom along x; then along y
    largest = np.array([1, 2, 1, 2], np.float32) * _MAX_SHIFT
    moved = first
    for _ in range(_STEPS):
        slope_x, slope_y = (
            np.gradient((moved + second) / 2, axis=axis) * side for axis in (3, 2)
        )
        slopes = np.stack(
            [slope_x, slope_x * centres, slope_y, slope_y * centres[:, None]], axis=-1
        ).reshape(num_pairs, -1, 4)
        left = second - moved
        left[:, 0] -= (left[:, 0] * inside).sum((1, 2), keepdims=True)
        weighted = (slopes.reshape(*first.shape, 4) * inside[..., None]).reshape(
            slopes.shape
        )
        transposed = weighted.transpose(0, 2, 1)
        curvature = transposed @ slopes + _DAMPING * np.eye(4, dtype=np.float32)
        towards = transposed @ left.reshape(num_pairs, -1, 1)
        moves += np.linalg.solve(curvature, towards)[..., 0]
        moves = np.clip(moves, -largest, largest)
        along_x = _sampling_matrix(moves[:, :1] + centres * (1 + moves[:, 1:2]))
        along_y = _sampling_matrix(moves[:, 2:3] + centres * (1 + moves[:, 3:]))
        moved = along_y[:, None] @ first @ along_x[:, None].transpose(0, 1, 3, 2)
    shifts, zooms = moves[:, ::2], moves[:, 1::2]
    stays_inside = np.abs(shifts) <= np.abs(zooms) / 2 + _MAX_OUTSIDE
    goes_in, goes_out = zooms <= _MAX_OUTSIDE, zooms >= -_MAX_OUTSIDE
    is_crop = (stays_inside & goes_in).all(1) | (stays_inside & goes_out).all(1)
    return moved, np.asarray(is_crop)


def inner_weights(side: int) -> Float[np.ndarray, "s s"]:
    """Returns weights that sum to 1 and are 0 within MARGIN of the border."""
    centres = (np.arange(side) + 0.5) / side
    inside = (np.minimum(centres, 1 - centres) > MARGIN).astype(np.float32)
    weights = inside[:, None] * inside
    return weights / weights.sum()


def _sampling_matrix(positions: Float[np.ndarray, "n s"]) -> Float[np.ndarray, "n s s"]:
    """Returns matrices that read pixels at positions (-0.5..0.5), by cubic splines.

    Catmull-Rom; beyond the border the last pixel goes on.
    """
    side = positions.shape[1]
    pixels = np.clip((positions + 0.5) * side - 0.5, 0, side - 1)
    far = np.abs(pixels[..., None] - np.arange(side, dtype=np.float32))
    near = np.where(
        far < 1,
        (1.5 * far - 2.5) * far**2 + 1,
        np.where(far < 2, ((-0.5 * far + 2.5) * far - 4) * far + 2, 0),
    )
    return near / near.sum(-1, keepdims=True)
