"""Samples put together from random numbers: consistent enough to be stored, not to be looked at."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aih_builder.sample import SPECS, Sample

TEXTS = ("", "a", "Fäuste", "手" * 2)


def fabricate(seed: int, height: int, width: int, fields: Sequence[str] = ()) -> Sample:
    """A sample with random values in every field; targets equal the image outside changed_mask."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        name: _value(rng, name, height, width) for name, spec in SPECS.items() if not spec.optional or name in fields
    }
    for hand in range(2):
        changed = _blob(rng, height, width)
        if not values["target_valid"][hand]:
            changed[:] = False
            values["target_rgb"][hand] = 0
        else:
            values["target_rgb"][hand] = np.where(changed[..., None], values["target_rgb"][hand], values["image_rgb"])
        values["changed_mask"][hand] = changed
    return Sample(**values)


def _value(rng: np.random.Generator, name: str, height: int, width: int) -> Any:
    spec = SPECS[name]
    if spec.max_bytes:
        return TEXTS[rng.integers(len(TEXTS))]
    shape = [{"H": height, "W": width}.get(d) or int(d) for d in spec.dims.split()]
    kind = np.dtype(spec.dtype).kind
    if kind == "b":
        value = rng.random(shape) < 0.5
    elif kind == "f":
        value = rng.normal(0, 100, shape).astype(spec.dtype)
    elif name == "normal":
        value = rng.integers(-127, 128, shape).astype(spec.dtype)
    else:
        bounds = np.iinfo(spec.dtype)
        value = rng.integers(bounds.min, bounds.max, shape, spec.dtype, endpoint=True)
    return np.asarray(value).item() if spec.dims == "" else np.asarray(value)


def _blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A mask: empty, one pixel, speckles, or a full box that may touch the frame."""
    mask = np.zeros((height, width), bool)
    kind = rng.integers(4)
    if kind == 1:
        mask[rng.integers(height), rng.integers(width)] = True
    elif kind == 2:
        mask |= rng.random((height, width)) < 0.3
    elif kind == 3:
        top, left = rng.integers(height), rng.integers(width)
        mask[top : rng.integers(top, height) + 1, left : rng.integers(left, width) + 1] = True
    return mask
