"""Where keypoints fall in the images: counts over cells of the image, of any size, and outside of it."""

from collections.abc import Mapping

import numpy as np

from aih_builder.identity import SPLITS
from aih_builder.sample import Array

CELLS = 32  # along each side of the image
OUTSIDE = CELLS * CELLS  # the place that counts what falls outside the frame
SHAPE = (len(SPLITS), 2, OUTSIDE + 1)  # of the counts: split, hand, cell (row by row, then outside)


def count_keypoints(plain: Mapping[str, Array], size_px: int) -> Array:
    """Keypoints (2, 1025) int64 of a shard's samples by hand and cell, of images of size_px squared.

    Of hands that are present, keypoints that are known.
    """
    joints_px = plain["joints_px"]  # (S, 2, 21, 2)
    known = plain["joint2d_valid"] & plain["hand_present"][..., None]
    places = np.floor((joints_px + np.float32(0.5)) * (CELLS / size_px))  # the image begins at -0.5 px
    inside = ((places >= 0) & (places < CELLS)).all(axis=-1)
    x, y = (np.where(inside, places[..., axis], 0).astype(np.int64) for axis in (0, 1))
    cells = np.where(inside, y * CELLS + x, OUTSIDE)
    return np.stack([np.bincount(cells[:, hand][known[:, hand]], minlength=OUTSIDE + 1) for hand in (0, 1)])
