"""The sample record: the contract of this package.

Hand axis: 0 right, 1 left. Camera axes: x right, y down, z forward; metres. The centre of pixel (0, 0) lies at (0, 0).
Undefined values are 0 and flagged invalid; optional arrays are None when off; nothing is NaN.

The checker, the writer, the reader and the viewers loop over SPECS: a new stored array is one new field.
"""

from dataclasses import dataclass, field
from functools import cache
from math import isfinite
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aih_builder.errors import SampleError
from aih_builder.imaging import channel_sums
from aih_builder.pixels import set_bits

SCHEMA_VERSION = 2
MASK_BITS = {  # of each mask, right and left, where all of a sample's masks are packed into one byte per pixel
    "amodal_mask": (1, 2),
    "visible_mask": (4, 8),
    "changed_mask": (16, 32),
    "forearm_mask": (64, 128),
}
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

    # the look; 0 or False where it is off or unknown
    skin_age: Annotated[Array, Spec("float32", "2", "years that the skin shows, 0 unknown")] = field(
        default_factory=lambda: np.zeros(2, np.float32)
    )
    hands_shade: Annotated[bool, Spec("bool", "", "whether each hand darkens the other in the image")] = False
    defocus_px: Annotated[float, Spec("float32", "", "radius of the lens blur, pixels")] = 0.0
    motion_px: Annotated[float, Spec("float32", "", "length of the motion blur, pixels")] = 0.0
    noise_level: Annotated[float, Spec("float32", "", "standard deviation of the noise on mid grey, levels")] = 0.0

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
        Spec("uint16", "H W", "distance along z of the nearest hand or forearm, 0.05 mm; 0 none", True),
    ] = None
    normal: Annotated[
        Array | None,
        Spec("int8", "H W 3", "unit normal of the nearest hand or forearm x 127, camera frame", True),
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


@cache
def _room(dtype: str) -> int:
    return int(dtype[3:]) if dtype.startswith("str") else 0


SPECS = specs_of(Sample)


class _Check(NamedTuple):
    """What is asked of a field's value, made ready."""

    name: str
    spec: Spec
    dtype: np.dtype
    dims: tuple[str, ...]
    lengths: tuple[int | None, ...]  # of each dimension; None where a letter stands
    fixed: bool  # whether there is no letter
    least: int  # of what the type holds, if it is of whole numbers
    most: int


@cache
def _checks_of(record: type) -> tuple[_Check, ...]:
    checks = []
    for name, spec in specs_of(record).items():
        dims = tuple(spec.dims.split())
        lengths = tuple(int(dim) if dim.isdigit() else None for dim in dims)
        dtype = np.dtype("S" if spec.max_bytes else spec.dtype)
        least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (0, 0)
        checks.append(_Check(name, spec, dtype, dims, lengths, None not in lengths, int(least), int(most)))
    return tuple(checks)


def check_arrays(record: Any) -> None:
    """Check a record's types, shapes and finiteness against its Specs. Raises SampleError naming the first at fault."""
    letters: dict[str, int] = {}
    for check in _checks_of(type(record)):
        value = getattr(record, check.name)
        if value is None and check.spec.optional:
            continue
        if check.dtype.kind == "S":
            if not isinstance(value, str) or len(value.encode()) > check.spec.max_bytes:
                raise SampleError(
                    f"{check.name}: expected text of at most {check.spec.max_bytes} bytes, got {value!r}."
                )
        elif check.dims:
            _check_array(check, value, letters)
        else:
            _check_scalar(check, value)


def _check_scalar(check: _Check, value: object) -> None:
    kind = check.dtype.kind
    good = isinstance(value, bool) if kind == "b" else isinstance(value, float if kind == "f" else int)
    if not good or not isfinite(value):  # pyright: ignore[reportArgumentType]
        raise SampleError(f"{check.name}: expected a finite {check.spec.dtype}, got {value!r}.")
    if kind in "iu" and not check.least <= int(value) <= check.most:  # pyright: ignore[reportArgumentType]
        raise SampleError(f"{check.name}: {value} does not fit {check.spec.dtype}.")


def _check_array(check: _Check, value: object, letters: dict[str, int]) -> None:
    shape = getattr(value, "shape", None)
    if check.fixed:
        expected = check.lengths
    else:
        if isinstance(shape, tuple) and len(shape) == len(check.dims):
            for dim, length in zip(check.dims, shape, strict=True):
                letters.setdefault(dim, length)
        known = zip(check.dims, check.lengths, strict=True)
        expected = tuple([letters.get(dim, -1) if length is None else length for dim, length in known])
    if not isinstance(value, np.ndarray) or value.dtype != check.dtype or shape != expected:
        named = ", ".join(d if d.isdigit() else f"{d}={letters.get(d, '?')}" for d in check.dims)
        found = f"{value.dtype} {shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise SampleError(f"{check.name}: expected {check.spec.dtype} ({named}), got {found}.")
    if check.dtype.kind == "f" and np.count_nonzero(np.isfinite(value)) < value.size:
        raise SampleError(f"{check.name}: holds NaN or infinity; undefined values must be 0 and flagged invalid.")


class HdrMasks(NamedTuple):
    """The paper's four masks of one target hand, bool (H, W); they partition the image."""

    M_D: Mask  # the target, hidden by the other hand: to be filled in
    M_R: Mask  # the other hand (or its forearm) outside the target: to be removed
    M_rv: Mask  # the target, visible
    M_bv: Mask  # background


def hdr_masks(sample: Sample, target: int) -> HdrMasks:
    """Masks of HDR's de-occlusion and removal for target 0 (right) or 1 (left)."""
    return hdr_masks_of(sample.amodal_mask[target], sample.visible_mask[target], intruder_mask(sample, target))


def intruder_mask(sample: Sample, target: int) -> Mask:
    """What is seen of a target's other hand and its forearm, bool (H, W)."""
    other = 1 - target
    visible = sample.visible_mask[other]
    return visible if sample.forearm_mask is None else visible | sample.forearm_mask[other]


def amodal_known(engine: str, hand_present: ArrayLike, target_valid: ArrayLike) -> Mask:
    """Whether the amodal mask of each hand is known, bool (..., 2).

    Always so in what this package makes. The published AIH-Render has none of the hand that is not the target: in an
    import it is a hand that is there without a target, and its visible mask stands in for the amodal one.
    """
    there, valid = np.asarray(hand_present, bool), np.asarray(target_valid, bool)
    return ~there | valid if engine == "render" else np.ones(there.shape, bool)


def hdr_masks_of(amodal: Mask, visible: Mask, intruder: Mask) -> HdrMasks:
    """The same from the target's masks and what is seen of the other hand and its forearm; all of one shape."""
    M_D = amodal & ~visible
    M_R = ~amodal & intruder
    return HdrMasks(M_D, M_R, visible, ~(M_D | M_R | visible))


def packed_masks(sample: Sample) -> NDArray[np.uint8]:
    """All masks of a sample as one byte per pixel (H, W), by MASK_BITS."""
    bits = np.zeros(sample.image_rgb.shape[:2], np.uint8)
    for name, (right, left) in MASK_BITS.items():
        masks = getattr(sample, name)
        if masks is not None:
            set_bits(bits, masks, right, left)
    return bits


def occlusion_rates(amodal_mask: Mask, visible_mask: Mask) -> NDArray[np.float32]:
    """Share of each hand's amodal pixels that is hidden, float32 (2,); 0 for an empty mask."""
    whole = np.array([np.count_nonzero(mask) for mask in amodal_mask])
    hidden = np.array([np.count_nonzero(mask) for mask in amodal_mask & ~visible_mask])
    return occlusion_rates_of(whole, hidden)


def occlusion_rates_of(whole: ArrayLike, hidden: ArrayLike) -> NDArray[np.float32]:
    """The same from the number of each hand's amodal pixels and of those that are hidden."""
    return (np.asarray(hidden) / np.maximum(whole, 1)).astype(np.float32)


def mean_luma(image_rgb: Array) -> float:
    """Mean luma of an image (H, W, 3) u8, in levels; sums are of integers, hence exact."""
    r, g, b = channel_sums(image_rgb)
    pixels = image_rgb.shape[0] * image_rgb.shape[1]
    return float(np.float32((299 * r + 587 * g + 114 * b) / (1000 * pixels)))
