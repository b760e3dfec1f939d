"""Writes a dataset as the AIH tree that HDR's official reader opens unmodified, in train, val and test.

AIH-Sync's hands are written where they are, with the record that leaves a picture as it is: the target's picture is the
target alone, the other hand's is the image, which shows it where its mask is set. The reader's composite equals the
image but for the soft edge of the hand on top, at most 3 px beside its mask. AIH-Render's crops around a target go to
that hand's folder. What the tree has no place for is left out, and counted.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.files import whole_folder, write_json, write_whole
from aih_builder.identity import EngineName, name_of
from aih_builder.imaging import encode_jpeg, encode_png
from aih_builder.interop.official_cfgs import NOT_MOVED, Cfg, write_cfgs
from aih_builder.interop.official_tree import (
    EXPORT_FILE,
    LEFT_LABEL,
    RIGHT_LABEL,
    SIZE_PX,
    Annotation,
    Exported,
    Group,
    MaskKind,
    PictureKind,
    annotation_of,
    require_share,
    source_of,
)
from aih_builder.parallel.run import run_tasks
from aih_builder.sample import SIDES, SPECS, Array, Sample, intruder_mask
from aih_builder.shards.reader import Dataset, open_dataset

log = logging.getLogger(__name__)

# What the official reader opens, and how many it needs: a list of one line it reads as a number, not as a list.
REQUIRED = {
    ("sync", Group("human", "train")): 2, ("sync", Group("machine", "train")): 2,
    ("sync", Group("machine", "val")): 2, ("sync", Group("machine", "test")): 2,
    ("render", Group("human", "train"), 0): 1, ("render", Group("human", "train"), 1): 1,
    ("render", Group("machine", "train"), 0): 1, ("render", Group("machine", "train"), 1): 1,
}  # fmt: skip
CARRIED = (
    "image_rgb", "target_rgb", "target_valid", "hand_present", "amodal_mask", "visible_mask", "occlusion_rate",
    "framing", "target_hand", "engine", "split", "annotation",
)  # fmt: skip
NOT_CARRIED = tuple(name for name in SPECS if name not in CARRIED)


class Piece(NamedTuple):
    """A sample that goes into the tree."""

    place: int  # in the dataset
    engine: EngineName
    group: Group
    target: int
    number: int  # of its engine and split: its file is called so
    occlusion_rate: float  # of the target

    @property
    def listing(self) -> tuple[Any, ...]:
        """What the reader lists it in."""
        return (self.engine, self.group) if self.engine == "sync" else (self.engine, self.group, self.target)


def export_aih(
    path: Path,
    out: Path,
    *,
    human_share: float = 0.4,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a dataset folder as an AIH tree; flagged samples are left out.

    human_share: of the train samples whose record does not say who annotated them. on_progress gets samples done and in
    all. Raises ConfigError, and writes nothing, where the dataset is not of 256 px, lacks what the reader opens, or
    `out` is no place for it.
    """
    require_share(human_share)
    _require_place(out)
    dataset = open_dataset(path)
    pieces, left_out = select(dataset, human_share)
    _require_listings(pieces, left_out, path)
    listings: dict[tuple[Any, ...], list[Piece]] = {}
    for piece in pieces:
        listings.setdefault(piece.listing, []).append(piece)
    for listing, lonely in list(listings.items()):
        if listing[0] == "sync" and len(lonely) < 2:
            left_out["the only one of its list, which the reader cannot read"] += len(lonely)
            pieces = [piece for piece in pieces if piece.listing != listing]
            del listings[listing]
    with whole_folder(out) as root:
        for listing, members in listings.items():
            _write_listing(root, listing, members)
        done = 0
        tasks = list(_tasks(dataset, pieces))
        with closing(run_tasks(partial(write_pieces, dataset, root), tasks, jobs)) as results:
            for _, count in results:
                done += count
                if on_progress is not None:
                    on_progress(done, len(pieces))
        written = {_named(listing): len(members) for listing, members in sorted(listings.items(), key=str)}
        about = {"format": "aih-export", "version": 1, "tree": "aih"} | source_of(path)
        about |= {"human_share": human_share, "written": written, "left_out": dict(left_out)}
        write_json(root / EXPORT_FILE, about | {"not_carried": list(NOT_CARRIED)})
    return Exported(out, written, dict(left_out))


def _require_place(out: Path) -> None:
    """The reader formats its paths, and takes .jpg in them for the end of a name."""
    if bad := [text for text in ("{", "}", ".jpg") if text in str(out.absolute())]:
        raise ConfigError(
            f"{out.absolute()}: the official reader cannot read a path that holds {bad[0]!r}. Choose another one."
        )


def select(dataset: Dataset, human_share: float) -> tuple[list[Piece], Counter[str]]:
    """What goes into the tree, in the dataset's order, and how much does not, by reason. Reads small arrays and a
    picture a shard. Raises ConfigError for a dataset of another size than 256 px.
    """
    pieces: list[Piece] = []
    left_out: Counter[str] = Counter({"flagged": len(dataset.left_out)} if dataset.left_out else {})
    at = 0
    for number, shard in enumerate(dataset.shards):
        if not shard["samples"]:
            continue
        first = dataset[at]
        if first.image_rgb.shape[:2] != (SIZE_PX, SIZE_PX):
            height, width = first.image_rgb.shape[:2]
            raise ConfigError(
                f"{dataset.folder}: its pictures have {width} x {height} pixels, the official reader takes {SIZE_PX} x "
                f"{SIZE_PX} alone. Generate with image_size_px: {SIZE_PX}."
            )
        arrays = dataset.small_arrays_of(number)
        for i in range(shard["samples"]):
            if reason := _refused(arrays, i):
                left_out[reason] += 1
            else:
                pieces.append(_piece(arrays, i, at + i, human_share))
        at += shard["samples"]
        dataset.release()
    return pieces, left_out


def _refused(arrays: dict[str, Array], i: int) -> str:
    """Why a sample has no place in the tree; empty where it has one."""
    target = int(arrays["target_hand"][i])
    if not arrays["hand_present"][i].all():
        return "a single hand"
    if target < 0 or not arrays["target_valid"][i, target]:
        return "no target"
    if arrays["framing"][i] != b"target":
        return "framed around both hands"
    if arrays["engine"][i] == b"sync" and arrays["occlusion_rate"][i, 1 - target] > 0:
        return "the hand on top is hidden, too"
    return ""


def _piece(arrays: dict[str, Array], i: int, place: int, human_share: float) -> Piece:
    index, target = int(arrays["index"][i]), int(arrays["target_hand"][i])
    engine, split, number = name_of(index)
    annotation: Annotation = annotation_of(arrays["annotation"][i].decode(), split, index, human_share)
    rate = float(arrays["occlusion_rate"][i, target])
    return Piece(place, engine, Group(annotation, split), target, number, rate)


def _require_listings(pieces: list[Piece], left_out: Counter[str], path: Path) -> None:
    found = Counter(piece.listing for piece in pieces)
    missing = [
        f"{_named(listing)}: {found[listing]} of at least {least}"
        for listing, least in REQUIRED.items()
        if found[listing] < least
    ]
    if missing:
        without = ", ".join(f"{reason}: {count}" for reason, count in left_out.most_common()) or "nothing"
        raise ConfigError(
            f"{path}: the official reader opens lists that it would leave empty ({'; '.join(missing)}; left out: "
            f"{without}). Generate more samples of that engine and split, or choose another share of human ones."
        )


def _named(listing: tuple[Any, ...]) -> str:
    engine, group, *target = listing
    if engine == "sync":
        return f"AIH_syn {group}"
    return f"AIH_render {group} {SIDES[target[0]][0]}_images"


def _write_listing(root: Path, listing: tuple[Any, ...], members: list[Piece]) -> None:
    """The folders of a listing, and for AIH_syn its lists and records: sample k is place k of both lists."""
    engine, group = listing[:2]
    if engine == "render":
        side = listing[2]
        folders = [group.render_image(root, side, kind) for kind in ("IH", "DR_gt")]
        folders += [group.render_mask(root, side, kind) for kind in ("amodal", "rl_visible")]
    else:
        folders = [folder(root, side) for folder in (group.syn_image, group.syn_mask) for side in (0, 1)]
        ids = "".join(f"{piece.number}\n" for piece in members)
        for side in (0, 1):
            write_whole(group.list_file(root, side), ids.encode())
        cfgs = (Cfg(p.target, k, k, NOT_MOVED, NOT_MOVED, p.occlusion_rate) for k, p in enumerate(members))
        write_whole(group.cfg_file(root), write_cfgs(cfgs))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _tasks(dataset: Dataset, pieces: list[Piece]) -> Iterator[list[Piece]]:
    """The pieces of each shard."""
    end, begin = 0, 0
    for shard in dataset.shards:
        end += shard["samples"]
        stop = begin
        while stop < len(pieces) and pieces[stop].place < end:
            stop += 1
        if stop > begin:
            yield pieces[begin:stop]
        begin = stop


def write_pieces(dataset: Dataset, root: Path, pieces: list[Piece]) -> int:
    """Write the pictures of some pieces; returns their number."""
    for piece in pieces:
        write = _write_sync if piece.engine == "sync" else _write_render
        write(root, piece, dataset[piece.place])
    dataset.release()
    return len(pieces)


def _write_sync(root: Path, piece: Piece, sample: Sample) -> None:
    for side in (0, 1):
        picture = sample.target_rgb[side] if side == piece.target else sample.image_rgb
        (piece.group.syn_image(root, side) / f"{piece.number}.jpg").write_bytes(encode_jpeg(picture))
        mask = encode_png(sample.amodal_mask[side].astype(np.uint8))
        (piece.group.syn_mask(root, side) / f"{piece.number}.png").write_bytes(mask)


def _write_render(root: Path, piece: Piece, sample: Sample) -> None:
    group, target = piece.group, piece.target
    # The tree has no label for forearms: the other hand's is removed with it, so it counts as that hand.
    seen = [sample.visible_mask[target]] * 2
    seen[1 - target] = intruder_mask(sample, target)
    right, left = seen
    labels: dict[MaskKind, np.ndarray] = {
        "amodal": sample.amodal_mask[target].astype(np.uint8),
        "rl_visible": right * np.uint8(RIGHT_LABEL) + left * np.uint8(LEFT_LABEL),
    }
    pictures: dict[PictureKind, np.ndarray] = {"IH": sample.image_rgb, "DR_gt": sample.target_rgb[target]}
    for kind, picture in pictures.items():
        (group.render_image(root, target, kind) / f"{piece.number}.jpg").write_bytes(encode_jpeg(picture))
    for kind, values in labels.items():
        (group.render_mask(root, target, kind) / f"{piece.number}.png").write_bytes(encode_png(values))
