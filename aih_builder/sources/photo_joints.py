"""What a joints file of a photograph says, and where that lies in a crop of it. See photos.py for the file."""

from typing import Any

import numpy as np

from aih_builder.sample import SIDES, Array

_SHAPES = {"joints_px": (21, 2), "visible": (21,), "cam_joints_m": (21, 3), "K_px": (3, 3)}
_CHOICES = {"side": SIDES, "skin_tone": range(1, 11), "annotation": ("human", "machine", "")}
_KEYS = {*_SHAPES, *_CHOICES}
_FARTHEST_M = 10.0
_MOST_APART_PX = 5.0  # of an annotated joint from its projection


def parsed(content: Any) -> dict[str, Any]:
    """The content of a joints file, checked: arrays (null rows of joints are NaN) and plain values.

    Raises ValueError or TypeError saying what is wrong.
    """
    if not isinstance(content, dict) or content.keys() - _KEYS:
        raise ValueError(f"expected a mapping of {', '.join(sorted(_KEYS))}")
    known = {key: value for key, value in content.items() if key not in _SHAPES}
    for key, allowed in _CHOICES.items():
        if key in known and (isinstance(known[key], bool | float) or known[key] not in allowed):
            raise ValueError(f"{key} is {known[key]!r}, expected one of {', '.join(map(str, allowed))}")
    for key, shape in _SHAPES.items():
        if content.get(key) is not None:
            known[key] = _array(key, content[key], shape)
    if "visible" in known and not np.isin(known["visible"], (0, 1)).all():
        raise ValueError("visible: expected 0 and 1")
    if "K_px" in known:
        _check_camera(known["K_px"])
    if "cam_joints_m" in known:
        _check_in_space(known)
    return known


def _array(key: str, value: Any, shape: tuple[int, ...]) -> Array:
    if key.endswith(("joints_px", "joints_m")) and isinstance(value, list):
        value = [[np.nan] * shape[1] if row is None else row for row in value]
    array = np.array(value, np.float64)
    if array.shape != shape:
        raise ValueError(f"{key}: expected {' x '.join(map(str, shape))} numbers, got {array.shape}")
    if np.isinf(array).any() or (key in ("K_px", "visible") and np.isnan(array).any()):
        raise ValueError(f"{key}: holds values that are not numbers")
    return array


def _check_camera(K_px: Array) -> None:
    if K_px[0, 0] <= 0 or K_px[1, 1] <= 0 or K_px[1, 0] or not np.array_equal(K_px[2], [0, 0, 1]):
        raise ValueError("K_px: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy")


def _check_in_space(known: dict[str, Any]) -> None:
    if "K_px" not in known:
        raise ValueError("cam_joints_m needs K_px, the camera that it belongs to")
    depth_m = known["cam_joints_m"][:, 2]
    if (depth_m <= 0).any() or (depth_m > _FARTHEST_M).any():
        raise ValueError(
            f"cam_joints_m: z from {np.nanmin(depth_m):g} to {np.nanmax(depth_m):g}, expected more than 0 and at most "
            f"{_FARTHEST_M:g}: metres, z forward"
        )
    if "joints_px" in known:
        apart = np.abs(_projected(known["cam_joints_m"], known["K_px"]) - known["joints_px"])
        if np.nanmax(apart, initial=0.0) > _MOST_APART_PX:
            raise ValueError(
                f"cam_joints_m projects up to {np.nanmax(apart):.0f} px from joints_px, expected {_MOST_APART_PX:g}"
            )


def _projected(points_m: Array, K_px: Array) -> Array:
    """Pixels (21, 2) of joints (21, 3), NaN where these are."""
    return (K_px[None, :2] * points_m[:, None]).sum(axis=2) / points_m[:, 2:]


def joint_fields(known: dict[str, Any], to_px: Array) -> dict[str, Any]:
    """The fields of a bank's entry that have to do with joints; to_px (2, 3) leads from the photograph into the crop.

    Where 3D joints and camera are known, joints_px is their projection, so that the record agrees with itself.
    """
    points_px = known.get("joints_px", np.full((21, 2), np.nan))
    points_m = known.get("cam_joints_m", np.full((21, 3), np.nan))
    joints_px = points_px @ to_px[:, :2].T + to_px[:, 2]
    K_px: Array = np.zeros((3, 3))
    if "K_px" in known:
        K_px = np.concatenate([to_px, [[0.0, 0.0, 1.0]]]) @ known["K_px"]
        projected = _projected(points_m, K_px)
        joints_px = np.where(np.isfinite(projected), projected, joints_px)
    valid_2d = np.asarray(np.isfinite(joints_px).all(axis=1))
    valid_3d = np.asarray(np.isfinite(points_m).all(axis=1))
    told = "visible" in known
    return {
        "joints_px": np.where(valid_2d[:, None], joints_px, 0).astype(np.float32),
        "joint2d_valid": valid_2d,
        "cam_joints_m": np.where(valid_3d[:, None], points_m, 0).astype(np.float32),
        "joint3d_valid": valid_3d,
        "joint_visible": known["visible"].astype(bool) & valid_2d if told else np.zeros(21, bool),
        "joint_visible_valid": told,
        "K_px": K_px.astype(np.float32),
    }
