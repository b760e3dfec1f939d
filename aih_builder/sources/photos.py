"""A folder of the user's photographs of single hands, as entries of a bank.

    images/NAME.jpg    one hand each; .jpeg, .png, .webp and .bmp will do; NAME may lie in folders
    masks/NAME.png     one channel of the same size: the hand's coverage, 0 to 255 (a mask of 0 and 1 will do)
    joints/NAME.json   optional: any of side ("right", "left"), joints_px (21 x 2; null where unknown), visible (21),
                       cam_joints_m (21 x 3), K_px (3 x 3), skin_tone (1 to 10), annotation ("human", "machine")

The side is that of joints/NAME.json, else a folder `right` or `left` in NAME. The split is a folder `train`, `val` or
`test` in NAME, else a hash of the other folders in NAME (one subject, one folder), else of the picture's content.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.identity import SPLITS, Split
from aih_builder.imaging import ImageU8, box_of, decode_photo, decode_png, feathered, padded, resize
from aih_builder.sample import SIDES, Array
from aih_builder.sources.bank import BankEntry, BankHead, picture_side_px, storage_for, write_bank
from aih_builder.sources.licences import MAX_BYTES
from aih_builder.sources.pools import split_of

log = logging.getLogger(__name__)

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_SMALLEST_BOX_PX = 32  # of a hand's longer side
_HAND = 128  # coverage from which on a pixel belongs to the hand
_SHAPES = {"joints_px": (21, 2), "visible": (21,), "cam_joints_m": (21, 3), "K_px": (3, 3)}
_CHOICES = {"side": SIDES, "skin_tone": range(1, 11), "annotation": ("human", "machine", "")}
_KEYS = {*_SHAPES, *_CHOICES}


def build_photo_bank(path: Path, photos: "PhotoFolder", licence: str) -> tuple[int, Counter[str]]:
    """Write a bank of a folder's pictures; returns their number, and of those left out by reason.

    Raises ConfigError for a folder of no image, AssetError for a bad file or where no picture can serve.
    """
    if not 0 < len(licence.encode()) <= MAX_BYTES:
        raise ConfigError(f"licence is {licence!r}, expected 1 to {MAX_BYTES} bytes, which a sample can record.")
    left_out: Counter[str] = Counter()
    provenance = {"photographs": photos.folder.name, "factor": photos.factor}
    head = BankHead(
        size_px=photos.size_px,
        core_px=photos.core_px,
        licence=licence,
        hand="",
        provenance=json.dumps(provenance, sort_keys=True),
    )
    storage = storage_for(len(photos.names()), photos.size_px)
    made = write_bank(path, head, photos.entries(left_out), storage)
    for reason, count in left_out.most_common():
        log.warning("%s: %d pictures left out: %s", photos.folder, count, reason)
    return made, left_out


class PhotoFolder(NamedTuple):
    """Where the pictures are and how they are cropped."""

    folder: Path
    core_px: int  # side of the part of a picture that fills an image at scale 1
    factor: float  # side of the core / longer side of the hand's box
    side: int | None = None  # of pictures that do not tell

    @property
    def size_px(self) -> int:
        """Side of a picture."""
        return picture_side_px(self.core_px)

    def names(self) -> list[Path]:
        """The pictures below images/, sorted. Raises ConfigError where there are none."""
        root = self.folder / "images"
        names = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not names:
            raise ConfigError(f"{root}: holds no image ({', '.join(_SUFFIXES)}). Expected DIR/images and DIR/masks.")
        return names

    def entries(self, left_out: Counter[str]) -> Iterator[BankEntry]:
        """One entry per picture; those that cannot serve are counted by reason. Raises AssetError for a bad file."""
        seen: set[str] = set()
        for name in self.names():
            data = _read(self.folder / "images" / name)
            entry_id = f"photo-{hashlib.sha256(data).hexdigest()[:16]}"
            reason = "the same picture again" if entry_id in seen else ""
            seen.add(entry_id)
            made = reason or self._entry(name, data, entry_id)
            if isinstance(made, str):
                left_out[made] += 1
                log.debug("%s: left out: %s", name, made)
            else:
                yield made

    def _entry(self, name: Path, data: bytes, entry_id: str) -> BankEntry | str:
        """The entry of a picture, or why it cannot serve."""
        image = decode_photo(data, self.folder / "images" / name)
        mask = self._mask(name, image)
        top, bottom, left, right = box_of((mask >= _HAND).view(np.uint8))
        if max(bottom - top, right - left) < _SMALLEST_BOX_PX:
            return f"a hand of less than {_SMALLEST_BOX_PX} px"
        if top == 0 or left == 0 or bottom == mask.shape[0] or right == mask.shape[1]:
            return "a hand cut by the picture's border"
        scale = self.core_px / (self.factor * max(bottom - top, right - left))
        centre = np.array([left + right - 1, top + bottom - 1]) / 2
        rgb, to_px = _crop(image, scale, centre, self.size_px)
        alpha, _ = _crop(mask, scale, centre, self.size_px)
        alpha = np.where(_outside(mask.shape, to_px, self.size_px), np.uint8(0), alpha)
        known = self._known(name)
        side = known.get("side", next((part for part in name.parts[:-1] if part in SIDES), None))
        side = self.side if side is None else SIDES.index(side)
        if side is None:
            raise AssetError(
                f"{self.folder / 'images' / name}: right or left? Put it into a folder `right` or `left`, or give "
                "`side` in its joints file, or --side for all."
            )
        split, source = _place(name, entry_id)
        return BankEntry(
            rgba=np.dstack([rgb, feathered(alpha)]), entry_id=entry_id, side=side, split=split, source=source,
            annotation=known.get("annotation", ""), skin_tone=known.get("skin_tone", 0), pose_family="photo",
            mano_pose_rad=np.zeros(48, np.float32), mano_betas=np.zeros(10, np.float32),
            mano_trans_m=np.zeros(3, np.float32), pose_valid=False,
            shape_id="", texture_id="", background_id="", **_joints(known, to_px),
        )  # fmt: skip

    def _mask(self, name: Path, image: ImageU8) -> ImageU8:
        path = (self.folder / "masks" / name).with_suffix(".png")
        try:
            mask = decode_png(_read(path))
        except ShardError as error:
            raise AssetError(f"{path}: {error} Expected a PNG of one channel.") from error
        if mask.ndim == 3:
            mask = mask[..., -1] if mask.shape[2] == 4 else mask[..., 0]
        if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
            raise AssetError(f"{path}: {mask.dtype} {mask.shape}, expected uint8 {image.shape[:2]}, as its image.")
        return mask * np.uint8(255) if mask.max() == 1 else mask

    def _known(self, name: Path) -> dict[str, Any]:
        """What the joints file of a picture says, as arrays and plain values."""
        path = (self.folder / "joints" / name).with_suffix(".json")
        if not path.is_file():
            return {}
        try:
            return _parsed(json.loads(_read(path)))
        except (ValueError, TypeError, RecursionError) as error:
            raise AssetError(f"{path}: {error}.") from error


def _parsed(content: Any) -> dict[str, Any]:
    """What a joints file says, checked. Raises ValueError or TypeError."""
    if not isinstance(content, dict) or content.keys() - _KEYS:
        raise ValueError(f"expected a mapping of {', '.join(sorted(_KEYS))}")
    known = {key: value for key, value in content.items() if key not in _SHAPES}
    for key, shape in _SHAPES.items():
        if content.get(key) is not None:
            known[key] = _array(key, content[key], shape)
    if "cam_joints_m" in known and "K_px" not in known:
        raise ValueError("cam_joints_m needs K_px, the camera that it belongs to")
    for key, allowed in _CHOICES.items():
        if key in known and known[key] not in allowed:
            raise ValueError(f"{key} is {known[key]!r}, expected one of {', '.join(map(str, allowed))}")
    return known


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Each image needs its mask.") from error


def _array(key: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Numbers of a shape; null rows of joints are NaN."""
    if len(shape) == 2 and isinstance(value, list):
        value = [[np.nan] * shape[1] if row is None else row for row in value]
    array = np.array(value, np.float64)
    if array.shape != shape:
        raise ValueError(f"{key}: expected {' x '.join(map(str, shape))} numbers, got {array.shape}")
    if key in ("K_px", "visible") and not np.isfinite(array).all():
        raise ValueError(f"{key}: holds values that are not numbers")
    return array


def _crop(image: ImageU8, scale: float, centre_px: Array, size_px: int) -> tuple[ImageU8, Array]:
    """A square of a resized image around a point, and the affine (2, 3) from the image's pixels to it.

    Beyond the image its border pixels are repeated.
    """
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = resize(image, (height, width)) if (height, width) != image.shape[:2] else image
    zoom = np.array([width / image.shape[1], height / image.shape[0]])
    left, top = (np.floor((centre_px + 0.5) * zoom - 0.5 - (size_px - 1) / 2 + 0.5)).astype(int).tolist()
    before, after = (max(0, -top), max(0, -left)), (max(0, top + size_px - height), max(0, left + size_px - width))
    square = padded(small, before[0], after[0], before[1], after[1])[top + before[0] :, left + before[1] :][
        :size_px, :size_px
    ]
    to_px = np.array([[zoom[0], 0.0, 0.5 * zoom[0] - 0.5 - left], [0.0, zoom[1], 0.5 * zoom[1] - 0.5 - top]])
    return np.ascontiguousarray(square), to_px


def _outside(shape_hw: tuple[int, ...], to_px: Array, size_px: int) -> Array:
    """Which pixels of a crop (size, size) lie beyond the image."""
    pixels = np.arange(size_px)
    y, x = ((pixels - to_px[i, 2]) / to_px[i, i] for i in (1, 0))
    beyond = [(p < -0.5) | (p > side - 0.5) for p, side in zip((y, x), shape_hw, strict=True)]
    return np.logical_or.outer(*beyond)


def _place(name: Path, entry_id: str) -> tuple[Split, str]:
    folders = name.parts[:-1]
    groups = [part for part in folders if part not in SIDES and part not in SPLITS]
    source = "/".join(groups) or entry_id
    named: list[Split] = [split for split in SPLITS if split in folders]
    return named[0] if named else split_of(source), source


def _joints(known: dict[str, Any], to_px: Array) -> dict[str, Any]:
    """The fields of an entry that have to do with joints, moved into the crop."""
    points = known.get("joints_px", np.full((21, 2), np.nan))
    points_m = known.get("cam_joints_m", np.full((21, 3), np.nan))
    K_px: Array = np.zeros((3, 3))
    if "K_px" in known:
        K_px = np.concatenate([to_px, [[0.0, 0.0, 1.0]]]) @ known["K_px"]
        projected = (K_px[None, :2] * points_m[:, None]).sum(axis=2) / points_m[:, 2:]
    else:
        projected = np.full((21, 2), np.nan)
    moved = points @ to_px[:, :2].T + to_px[:, 2]
    joints_px = np.where(np.isfinite(projected).all(axis=1, keepdims=True), projected, moved)
    valid_2d = np.asarray(np.isfinite(joints_px).all(axis=1))
    valid_3d = np.asarray(np.isfinite(points_m).all(axis=1))
    return {
        "joints_px": np.where(valid_2d[:, None], joints_px, 0).astype(np.float32),
        "joint2d_valid": valid_2d,
        "cam_joints_m": np.where(valid_3d[:, None], points_m, 0).astype(np.float32),
        "joint3d_valid": valid_3d,
        "joint_visible": known["visible"].astype(bool) if "visible" in known else np.zeros(21, bool),
        "joint_visible_valid": "visible" in known,
        "K_px": K_px.astype(np.float32),
    }
