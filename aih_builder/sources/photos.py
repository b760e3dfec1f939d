"""A folder of the user's photographs of single hands, as entries of a bank.

    images/NAME.jpg    one hand each, upright; .jpeg, .png, .webp and .bmp will do; NAME may lie in folders
    masks/NAME.png     one channel of the same size: the hand's coverage, 0 to 255 (a mask of 0 and 1 will do)
    joints/NAME.json   optional: any of side ("right", "left"), joints_px (21 x 2; null where unknown), visible (21),
                       cam_joints_m (21 x 3, metres), K_px (3 x 3), skin_tone (1 to 10), annotation ("human", "machine")

The side is that of joints/NAME.json, else a folder `right` or `left` in NAME. The split is a folder `train`, `val` or
`test` in NAME, else a hash of the first other folder in NAME (one person, one folder), else of the picture's content.
Hidden files are not looked at. Masks and joints are those of the picture as it is shown: turned as its EXIF data say.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError, SampleError, ShardError
from aih_builder.identity import SPLITS, Split
from aih_builder.imaging import IMAGE_SUFFIXES, ImageU8, decode_photo, decode_png, refuse_huge
from aih_builder.sample import SIDES
from aih_builder.sources.bank import BankEntry, BankHead, picture_side_px, storage_for, write_bank
from aih_builder.sources.licences import MAX_BYTES
from aih_builder.sources.photo_joints import joint_fields, parsed
from aih_builder.sources.picture_crop import HAND_COVERAGE, cut_out
from aih_builder.sources.pools import split_of

log = logging.getLogger(__name__)


def build_photo_bank(path: Path, photos: "PhotoFolder", licence: str) -> tuple[int, Counter[str]]:
    """Write a bank of a folder's pictures; returns their number, and of those left out by reason.

    Raises ConfigError for a folder of no image, AssetError for a bad file or where no picture can serve.
    """
    if not 0 < len(licence.encode()) <= MAX_BYTES or not licence.isprintable():
        raise ConfigError(f"licence is {licence!r}, expected 1 to {MAX_BYTES} bytes, which a sample can record.")
    left_out: Counter[str] = Counter()
    provenance = {"photographs": len(photos.names()), "factor": photos.factor}
    head = BankHead(
        size_px=photos.size_px,
        core_px=photos.core_px,
        licence=licence,
        hand="",
        provenance=json.dumps(provenance, sort_keys=True),
    )
    storage = storage_for(len(photos.names()), photos.size_px)
    photos.report_orphans()
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
        """The pictures below images/, sorted. Raises ConfigError where there are none, or two of one name."""
        names = _files(self.folder / "images", IMAGE_SUFFIXES)
        if not names:
            raise ConfigError(
                f"{self.folder / 'images'}: holds no image ({', '.join(IMAGE_SUFFIXES)}). "
                "Expected DIR/images and DIR/masks."
            )
        stems = Counter(name.with_suffix("") for name in names)
        if twice := [str(stem) for stem, count in stems.items() if count > 1]:
            raise ConfigError(f"{self.folder / 'images'}: two images are called {twice[0]}. Each needs its own mask.")
        return names

    def report_orphans(self) -> None:
        """Log masks and joints that belong to no image: likely a misspelt name."""
        stems = {name.with_suffix("") for name in self.names()}
        for part, suffix in (("masks", ".png"), ("joints", ".json")):
            lost = [name for name in _files(self.folder / part, (suffix,)) if name.with_suffix("") not in stems]
            if lost:
                log.warning("%s: %d files fit no image, for instance %s", self.folder / part, len(lost), lost[0])

    def entries(self, left_out: Counter[str]) -> Iterator[BankEntry]:
        """One entry per picture; those that cannot serve are counted by reason. Raises AssetError for a bad file."""
        seen: set[str] = set()
        for name in self.names():
            path = self.folder / "images" / name
            data = _read(path)
            entry_id = f"photo-{hashlib.sha256(data).hexdigest()[:16]}"
            reason = "the same picture again" if entry_id in seen else ""
            seen.add(entry_id)
            try:
                made = reason or self._entry(name, data, entry_id)
            except SampleError as error:
                raise AssetError(f"{path}: {error}") from error
            if isinstance(made, str):
                left_out[made] += 1
                log.debug("%s: left out: %s", name, made)
            else:
                yield made

    def _entry(self, name: Path, data: bytes, entry_id: str) -> BankEntry | str:
        """The entry of a picture, or why it cannot serve."""
        image = decode_photo(data, self.folder / "images" / name)
        mask = self._mask(name, image)
        made = cut_out(image, mask, self.core_px, self.factor, self.size_px)
        if isinstance(made, str):
            return made
        rgba, to_px = made
        known = self._known(name)
        side, split, source = self._place(name, entry_id, known.get("side"))
        return BankEntry(
            rgba=rgba, entry_id=entry_id, side=side, split=split, source=source,
            annotation=known.get("annotation", ""), skin_tone=known.get("skin_tone", 0), pose_family="photo",
            mano_pose_rad=np.zeros(48, np.float32), mano_betas=np.zeros(10, np.float32),
            mano_trans_m=np.zeros(3, np.float32), pose_valid=False,
            shape_id="", texture_id="", background_id="", **joint_fields(known, to_px),
        )  # fmt: skip

    def _mask(self, name: Path, image: ImageU8) -> ImageU8:
        path = (self.folder / "masks" / name).with_suffix(".png")
        data = _read(path)
        refuse_huge(data, path)
        try:
            mask = decode_png(data)
        except ShardError as error:
            raise AssetError(f"{path}: {error} Expected a PNG of one channel.") from error
        if mask.ndim == 3 and (mask == mask[..., :1]).all():
            mask = mask[..., 0]  # grey, saved as colour
        if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
            turned = " Is the image turned by its EXIF data?" if mask.shape == image.shape[1::-1] else ""
            wanted = f"expected one channel, uint8 {image.shape[:2]}, as its image.{turned}"
            raise AssetError(f"{path}: {mask.dtype} {mask.shape}, {wanted}")
        most = int(mask.max())
        if 1 < most < HAND_COVERAGE:
            raise AssetError(f"{path}: its greatest value is {most}, expected a coverage of 0 to 255, or 0 and 1.")
        return mask * np.uint8(255) if most == 1 else mask

    def _known(self, name: Path) -> dict[str, Any]:
        path = (self.folder / "joints" / name).with_suffix(".json")
        if not path.is_file():
            return {}
        try:
            return parsed(json.loads(_read(path)))
        except (OverflowError, RecursionError, TypeError, ValueError) as error:
            raise AssetError(f"{path}: {error}.") from error

    def _place(self, name: Path, entry_id: str, told: str | None) -> tuple[int, Split, str]:
        """Side, split and source of a picture."""
        path = self.folder / "images" / name
        folders = [(part, part.lower()) for part in name.parts[:-1]]
        sides = {told} if told is not None else {lower for _, lower in folders if lower in SIDES}
        named: list[Split] = [split for split in SPLITS if any(lower == split for _, lower in folders)]
        if len(sides) > 1 or len(named) > 1:
            raise AssetError(f"{path}: lies in folders of two sides or splits. Expected one of each.")
        side = SIDES.index(sides.pop()) if sides else self.side
        if side is None:
            raise AssetError(
                f"{path}: right or left? Put it into a folder `right` or `left`, or give `side` in its joints file, or "
                "--side for all."
            )
        groups = [part for part, lower in folders if lower not in SIDES and lower not in SPLITS]
        source = groups[0] if groups else entry_id
        return side, named[0] if named else split_of(source), source


def _files(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Names of the files of these kinds below a folder, sorted; hidden ones are left out."""
    names = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(name for name in names if not any(part.startswith(".") for part in name.parts))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Each image needs its mask.") from error
