"""Read a shard without aih_builder. Hand axis: 0 right, 1 left."""

import sys
import zlib

import cv2
import h5py
import numpy as np


def decode(data):
    """JPEG (or PNG, in lossless shards) to RGB (H, W, 3)."""
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert bgr is not None, "damaged image"
    return bgr[..., ::-1]


def read_sample(shard, i):
    """Image, targets, masks and joints of sample i of an open shard."""
    begin = shard["offsets"][i]  # where each part of the sample begins in the blob
    image_part, *target_parts, mask_part = (shard["blob"][begin[p] : begin[p + 1]] for p in range(4))
    image = decode(image_part)
    bits = np.frombuffer(zlib.decompress(mask_part), np.uint8).reshape(image.shape[:2])
    amodal, visible, changed = (np.stack([bits & bit, bits & 2 * bit]) > 0 for bit in (1, 4, 16))
    targets = image * shard["target_valid"][i][:, None, None, None]  # a target is the image ...
    for target, part, mask in zip(targets, target_parts, changed, strict=True):
        if mask.any():  # ... but for a patch, which counts inside changed_mask only
            top, bottom, left, right = part[:8].view("<u2")
            inside = mask[top:bottom, left:right]
            target[top:bottom, left:right][inside] = decode(part[8:])[inside]
    joints_px = shard["joints_px"][i]  # likewise every field without pixels
    return image, targets, amodal, visible, changed, joints_px


if __name__ == "__main__":
    with h5py.File(sys.argv[1]) as opened:
        image, targets, *_, joints_px = read_sample(opened, 0)
        print(image.shape, targets.shape, joints_px)
