"""InterHand2.6M's images of single hands as a bank: each cut out along its MANO fit, as AIH's were.

A picture is the photograph around the hand, forearm and background kept; alpha is the coverage of the fit, which ends
at the wrist. What would make a mask untrue is left out and counted: fits that are missing or more than 10 mm from the
annotated joints, black pictures, hands that the picture's border cuts, camera 400412, images of another size than
annotated. Splits are the data set's own.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel
from aih_builder.identity import SPLITS, Split, shortened
from aih_builder.imaging import is_grey, read_image
from aih_builder.sample import SIDES
from aih_builder.sources.bank import BankEntry, BankHead, storage_for, write_bank
from aih_builder.sources.interhand import Fit, Image, fit_error_mm, read_capture
from aih_builder.sources.interhand_parts import Camera
from aih_builder.sources.licences import strictest
from aih_builder.sources.pose_imports import INTERHAND_LICENCE, MANO_LICENCE, MOST_FIT_ERROR_MM
from aih_builder.synth.fitted_pictures import Crop, Cutter, before_camera, cutter_for, soft_rgba
from aih_builder.synth.picture_tasks import BadFile, LeftOut, Outcome, entries_of

log = logging.getLogger(__name__)

_FAMILY_BYTES, _SOURCE_BYTES = 20, 200
_GREY_CAMERAS = "41"  # how their names begin


@dataclass(frozen=True, slots=True)
class InterhandImages:
    """Which images become pictures, and how."""

    root: Path
    every: int = 1  # take each n-th
    grey: bool = True  # of grey cameras, too
    disjoint: bool = True  # a subject's images come from one split alone
    skip_bad: bool = False  # missing and damaged files
    lists: Path | None = None  # folder of aid_human_annot_{split}.txt, where they do not lie beside the annotations
    crop: Crop = field(default_factory=Crop)


class Candidate(NamedTuple):
    """An image of one hand with a good fit."""

    split: Split
    side: int
    image: Image
    path: Path
    fit: Fit
    camera: Camera
    sequence: str

    @property
    def subject(self) -> str:
        """Whose hand it is; where no annotation tells, the capture stands for it."""
        return f"subject{self.image.subject}" if self.image.subject else f"capture{self.image.capture}"


def build_interhand_bank(
    path: Path,
    images: InterhandImages,
    hand: HandArrays,
    *,
    licensed: bool = True,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> LeftOut:
    """Write the bank; returns what was left out. `hand` is the right hand of the model that the fits belong to,
    licensed says whether MANO's licence binds it.

    Raises ConfigError where root holds no annotations, AssetError where they are damaged, an image is missing or
    damaged (without skip_bad), or nothing is left.
    """
    left_out = LeftOut()
    candidates = find_candidates(images, hand, left_out.reasons)
    licence = strictest(INTERHAND_LICENCE, *([MANO_LICENCE] if licensed else []))
    provenance = {
        "source": "InterHand2.6M", "every": images.every, "grey": images.grey, "disjoint_subjects": images.disjoint,
        "factor": images.crop.factor, "candidates": len(candidates),
        "subjects": {split: len({c.subject for c in candidates if c.split == split}) for split in SPLITS},
    }  # fmt: skip
    head = BankHead(
        size_px=images.crop.size_px,
        core_px=images.crop.core_px,
        licence=licence,
        hand=hand.digest(),
        provenance=json.dumps(provenance, sort_keys=True),
    )
    work = partial(_work, hand, images.crop, images.grey)
    entries = entries_of(
        work, candidates, left_out, skip_bad=images.skip_bad, jobs=jobs, on_progress=on_progress
    )  # fmt: skip
    made = write_bank(path, head, left_out.told(entries, images.root), storage_for(len(candidates), head.size_px))
    log.info("%s: %d pictures of %d candidates", path, made, len(candidates))
    return left_out


def find_candidates(images: InterhandImages, hand: HandArrays, dropped: Counter[str]) -> list[Candidate]:
    """Images of single hands whose fit is good, in the order of splits and data.json; the rest is counted by reason."""
    there: list[Split] = [split for split in SPLITS if (images.root / "annotations" / split).is_dir()]
    if not there:
        raise ConfigError(f"{images.root}: holds no annotations/train, val or test. Name the root of InterHand2.6M.")
    hands = hand_pair(hand, "native")
    found = [candidate for split in there for candidate in _of_split(images, split, hands, dropped)]
    if images.disjoint:
        found = _disjoint(found, dropped)
    return found[:: images.every]


def _of_split(
    images: InterhandImages, split: Split, hands: tuple[HandModel, HandModel], dropped: Counter[str]
) -> Iterator[Candidate]:
    capture = read_capture(images.root, split, lists=images.lists)
    dropped += capture.dropped
    flaws: dict[tuple[str, str, int], str] = {}
    for image in capture.images:
        if image.hand_type not in SIDES:
            dropped["image: both hands" if image.hand_type else "image: which hand is not told"] += 1
            continue
        if not images.grey and image.camera.startswith(_GREY_CAMERAS):
            dropped["image: grey camera"] += 1
            continue
        side, frame = SIDES.index(image.hand_type), capture.frames[image.capture, image.frame]
        key = image.capture, image.frame, side
        if key not in flaws:
            error_mm = fit_error_mm(hands[side], frame, side)
            flaws[key] = (
                "image: no fit of its hand" if frame.fits[side] is None
                else "image: no joints to hold the fit against" if error_mm is None
                else "image: a fit more than 10 mm from the joints" if error_mm > MOST_FIT_ERROR_MM
                else ""
            )  # fmt: skip
        fit = frame.fits[side]
        if flaws[key] or fit is None:
            dropped[flaws[key]] += 1
            continue
        path = images.root / "images" / split / image.file_name
        camera = capture.cameras[image.capture, image.camera]
        yield Candidate(split, side, image, path, fit, camera, frame.sequence)


def _disjoint(candidates: list[Candidate], dropped: Counter[str]) -> list[Candidate]:
    """A subject belongs to the last split, of train, val, test, that shows it; its images of other splits go."""
    home: dict[str, Split] = {}
    for candidate in candidates:
        if SPLITS.index(candidate.split) >= SPLITS.index(home.get(candidate.subject, "train")):
            home[candidate.subject] = candidate.split
    kept = [candidate for candidate in candidates if home[candidate.subject] == candidate.split]
    for candidate in candidates:
        if (split := home[candidate.subject]) != candidate.split:
            dropped[f"image: of {candidate.split}, its subject is also in {split}"] += 1
    if len(kept) < len(candidates):
        log.warning(
            "%d of %d images left out: their subjects are also in a later split. --subjects source keeps them.",
            len(candidates) - len(kept), len(candidates),
        )  # fmt: skip
    return kept


def _work(hand: HandArrays, crop: Crop, grey: bool, candidates: Sequence[Candidate]) -> list[Outcome]:
    cutter = cutter_for(hand, crop)
    return [_outcome(cutter, grey, candidate) for candidate in candidates]


def _outcome(cutter: Cutter, grey: bool, candidate: Candidate) -> Outcome:
    image, camera = candidate.image, candidate.camera
    try:
        rgb = read_image(candidate.path)
    except AssetError as error:
        return BadFile(str(error))
    if rgb.shape[:2] != (image.height, image.width):
        return "image: file of another size"
    if not grey and is_grey(rgb):
        return "image: grey"
    shift_m = -camera.rotation @ camera.position_mm / 1000.0
    fit = before_camera(cutter.hands[candidate.side], candidate.side, candidate.fit, camera.rotation, shift_m)
    cut = cutter.cut(rgb, fit, camera.K_px)
    if isinstance(cut, str):
        return cut
    name = hashlib.sha256(f"{candidate.split}/{image.file_name}".encode()).hexdigest()[:16]
    return BankEntry(
        rgba=soft_rgba(cut), entry_id=f"ih-{name}", split=candidate.split,
        source=shortened(f"{candidate.subject}/{image.file_name}", _SOURCE_BYTES), annotation=image.annotation,
        skin_tone=0, pose_family=shortened(candidate.sequence or "interhand", _FAMILY_BYTES),
        shape_id="", texture_id="", background_id="", **cut.fields,
    )  # fmt: skip
