"""The sample record: the contract of this package.

Hand axis: 0 right, 1 left. Camera axes: x right, y down, z forward; metres. The centre of pixel (0, 0) lies at (0, 0).
Undefined values are 0 and flagged invalid; optional arrays are None when off; nothing is NaN.

The checker, the writer, the reader and the viewers loop over SPECS: a new stored array is one new field.
"""

from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import SampleError
from aih_builder.imaging import channel_sums

SCHEMA_VERSION = 1
SIDES = ("right", "left")  # names along the hand axis
MIN_HAND_PIXELS = 16  # a hand with fewer amodal pixels in the frame does not count as present

Array = NDArray[Any]
Mask = NDArray[np.bool_]


class Spec(NamedTuple):
    """Type and shape of one field.

    dtype is numpy's, or `str` followed by the greatest number of bytes. dims: numbers are fixed, letters must agree
    across the record, "" is a scalar.
    """

    dtype: str
    dims: str
    about: str
    optional: bool = False

    @property
    def is_image(self) -> bool:
        """Whether the field has a value at each pixel; such fields are stored encoded."""
        return "H W" in self.dims

    @property
    def max_bytes(self) -> int:
        """Room for a string field; 0 for others."""
        return _room(self.dtype)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sample:
    """One image of one or two hands, with what each hand looks like alone."""

    # what is seen
    image_rgb: Annotated[Array, Spec("uint8", "H W 3", "both hands over the background, sRGB")]
    target_rgb: Annotated[
        Array,
        Spec("uint8", "2 H W 3", "each hand alone over the background: de-occluded, other removed"),
    ]
    target_valid: Annotated[Array, Spec("bool", "2", "whether the target is known")]
    changed_mask: Annotated[
        Array,
        Spec("bool", "2 H W", "where a valid target differs from the image; holds M_D and M_R"),
    ]

    # masks
    hand_present: Annotated[Array, Spec("bool", "2", "at least 16 amodal pixels lie in the frame")]
    amodal_mask: Annotated[Array, Spec("bool", "2 H W", "the whole hand, as if nothing hid it")]
    visible_mask: Annotated[Array, Spec("bool", "2 H W", "what is seen of the hand")]
    occlusion_rate: Annotated[
        Array, Spec("float32", "2", "area(amodal and not visible) / area(amodal), inside the frame")
    ]

    # joints, in keypoint order: wrist, then thumb, index, middle, ring, little, each base to tip
    cam_joints_m: Annotated[Array, Spec("float32", "2 21 3", "the model's keypoints, camera frame, metres")]
    joint3d_valid: Annotated[Array, Spec("bool", "2 21", "whether cam_joints_m is known")]
    joints_px: Annotated[Array, Spec("float32", "2 21 2", "keypoints in pixels, x then y; may lie outside the frame")]
    joint2d_valid: Annotated[Array, Spec("bool", "2 21", "whether joints_px is known")]
    joint_visible: Annotated[
        Array, Spec("bool", "2 21", "in the frame, on the visible hand, and near its front surface")
    ]
    joint_visible_valid: Annotated[Array, Spec("bool", "2", "whether joint_visible is known")]

    # camera and hand model
    K_px: Annotated[Array, Spec("float32", "2 3 3", "pinhole intrinsics, one per hand, pixels")]
    mano_pose_rad: Annotated[Array, Spec("float32", "2 48", "axis-angle, camera frame, flat_hand_mean=False")]
    mano_betas: Annotated[Array, Spec("float32", "2 10", "shape coefficients")]
    mano_trans_m: Annotated[Array, Spec("float32", "2 3", "translation, added last, metres")]
    pose_valid: Annotated[Array, Spec("bool", "2", "whether pose, betas and translation are known")]

    # interaction
    penetration_mm: Annotated[float, Spec("float32", "", "depth of the deepest vertex inside the other hand")]
    contact_fraction: Annotated[float, Spec("float32", "", "share of vertices that touch the other hand")]
    interaction_valid: Annotated[bool, Spec("bool", "", "whether both figures are measured")]

    # how the picture was framed, and what a viewer filters by
    framing: Annotated[str, Spec("str8", "", "target: cropped around the target hand; both: around both")]
    target_hand: Annotated[int, Spec("int8", "", "0 right, 1 left, -1 none")]
    scene_id: Annotated[int, Spec("uint64", "", "crops of one scene share it")]
    skin_tone: Annotated[Array, Spec("int8", "2", "Monk tone 1-10, 0 unknown")]
    pose_family: Annotated[str, Spec("str48", "", "what kind of pose or interaction")]
    mean_luma: Annotated[float, Spec("float32", "", "mean of 0.299 R + 0.587 G + 0.114 B of the image as made")]

    # provenance: enough to make the sample again, alone
    index: Annotated[int, Spec("uint32", "", "unique across the dataset")]
    seed: Annotated[int, Spec("uint32", "", "the manifest's seed")]
    attempt: Annotated[int, Spec("uint32", "", "which draw was accepted, from 1")]
    engine: Annotated[str, Spec("str8", "", "render or sync")]
    split: Annotated[str, Spec("str8", "", "train, val or test")]
    annotation: Annotated[str, Spec("str8", "", "human, machine or empty")]
    shape_id: Annotated[str, Spec("str48", "", "source of the betas")]
    pose_id: Annotated[str, Spec("str48", "", "source of the poses")]
    texture_id: Annotated[str, Spec("str48", "", "source of the skin")]
    background_id: Annotated[str, Spec("str48", "", "source of the background")]
    licence: Annotated[str, Spec("str48", "", "the strictest licence among the sources")]

    # optional images, off by default
    depth: Annotated[
        Array | None,
        Spec("uint16", "H W", "distance along z of the nearest hand, 0.05 mm; 0 none", True),
    ] = None
    normal: Annotated[
        Array | None,
        Spec("int8", "H W 3", "unit normal of the nearest hand x 127, camera frame", True),
    ] = None
    background_rgb: Annotated[Array | None, Spec("uint8", "H W 3", "the scene without hands", True)] = None
    forearm_mask: Annotated[Array | None, Spec("bool", "2 H W", "visible forearm of each hand", True)] = None

    def __post_init__(self) -> None:
        check_arrays(self)


@cache
def specs_of(record: type) -> dict[str, Spec]:
    """The declared type and shape of each field of a record class."""
    hints = get_type_hints(record, include_extras=True)
    return {name: next(a for a in get_args(hint) if isinstance(a, Spec)) for name, hint in hints.items()}


SPECS = specs_of(Sample)


def check_arrays(record: Any) -> None:
    """Check a record's types, shapes and finiteness against its Specs. Raises SampleError naming the first at fault."""
    letters: dict[str, int] = {}
    for name, spec in specs_of(type(record)).items():
        value = getattr(record, name)
        if value is None and spec.optional:
            continue
        if spec.max_bytes:
            if not isinstance(value, str) or len(value.encode()) > spec.max_bytes:
                raise SampleError(f"{name}: expected text of at most {spec.max_bytes} bytes, got {value!r}.")
            continue
        if spec.dims == "":
            _check_scalar(name, spec, value)
            continue
        _check_array(name, spec, value, letters)


def _check_scalar(name: str, spec: Spec, value: object) -> None:
    kind = np.dtype(spec.dtype).kind
    good = isinstance(value, bool) if kind == "b" else isinstance(value, float if kind == "f" else int)
    if not good or not isfinite(value):  # pyright: ignore[reportArgumentType]
        raise SampleError(f"{name}: expected a finite {spec.dtype}, got {value!r}.")
    if kind in "iu":
        least, most = _bounds(spec.dtype)
        if not least <= int(value) <= most:  # pyright: ignore[reportArgumentType]
            raise SampleError(f"{name}: {value} does not fit {spec.dtype}.")


def _check_array(name: str, spec: Spec, value: object, letters: dict[str, int]) -> None:
    dims = _dims(spec.dims)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape) == len(dims):
        for dim, length in zip(dims, shape, strict=True):
            if isinstance(dim, str):
                letters.setdefault(dim, length)
    expected = tuple([letters.get(d, -1) if isinstance(d, str) else d for d in dims])
    if not isinstance(value, np.ndarray) or value.dtype != spec.dtype or shape != expected:
        named = ", ".join(f"{d}={letters.get(d, '?')}" if isinstance(d, str) else str(d) for d in dims)
        found = f"{value.dtype} {shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise SampleError(f"{name}: expected {spec.dtype} ({named}), got {found}.")
    if value.dtype.kind == "f" and np.count_nonzero(np.isfinite(value)) < value.size:
        raise SampleError(f"{name}: holds NaN or infinity; undefined values must be 0 and flagged invalid.")


@cache
def _room(dtype: str) -> int:
    return int(dtype[3:]) if dtype.startswith("str") else 0


@cache
def _dims(dims: str) -> tuple[int | str, ...]:
    return tuple(int(dim) if dim.isdigit() else dim for dim in dims.split())


@cache
def _bounds(dtype: str) -> tuple[int, int]:
    bounds = np.iinfo(dtype)
    return int(bounds.min), int(bounds.max)


class HdrMasks(NamedTuple):
    """The paper's four masks of one target hand, bool (H, W); they partition the image."""

    M_D: Mask  # the target, hidden by the other hand: to be filled in
    M_R: Mask  # the other hand (or its forearm) outside the target: to be removed
    M_rv: Mask  # the target, visible
    M_bv: Mask  # background


def hdr_masks(sample: Sample, target: int) -> HdrMasks:
    """Masks of HDR's de-occlusion and removal for target 0 (right) or 1 (left)."""
    other = 1 - target
    amodal, visible = sample.amodal_mask[target], sample.visible_mask[target]
    intruder = sample.visible_mask[other]
    if sample.forearm_mask is not None:
        intruder = intruder | sample.forearm_mask[other]
    M_D = amodal & ~visible
    M_R = ~amodal & intruder
    return HdrMasks(M_D, M_R, visible, ~(M_D | M_R | visible))


def occlusion_rates(amodal_mask: Mask, visible_mask: Mask) -> NDArray[np.float32]:
    """Share of each hand's amodal pixels that is hidden, float32 (2,); 0 for an empty mask."""
    whole = np.array([np.count_nonzero(mask) for mask in amodal_mask])
    hidden = np.array([np.count_nonzero(mask) for mask in amodal_mask & ~visible_mask])
    return (hidden / np.maximum(whole, 1)).astype(np.float32)


def mean_luma(image_rgb: Array) -> float:
    """Mean luma of an image (H, W, 3) u8, in levels; sums are of integers, hence exact."""
    r, g, b = channel_sums(image_rgb)
    pixels = image_rgb.shape[0] * image_rgb.shape[1]
    return float(np.float32((299 * r + 587 * g + 114 * b) / (1000 * pixels)))
