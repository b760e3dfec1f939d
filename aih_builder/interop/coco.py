"""A dataset as COCO: OUT/images, OUT/annotations/{split}.json, one annotation for each hand that is present.

What COCO knows is the amodal hand: `segmentation` (compressed RLE), `area`, `bbox`. Amodal data sets call the rest by
names of their own; ours carries those that their tools read:
* COCOA and D2SA: `visible_mask`, `invisible_mask` (where something is hidden), `occlude_rate`;
* KINS: `inmodal_seg`, `inmodal_bbox`; they say the same as `visible_mask` and its box.

`keypoints`: 21 of x, y, v. x and y as in the record: the centre of pixel (0, 0) lies at (0, 0). v is 0 where the joint
is unknown, 1 where it is hidden or out of the frame, 2 where it is visible; `keypoints_visibility` says whether that is
known (else all known joints have 1). Ids: an image's is the sample's index, an annotation's is 2 x index + hand + 1,
since pycocotools takes 0 for "no match".
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from aih_builder import __version__
from aih_builder.errors import ShardError
from aih_builder.files import remove, whole_file, write_whole
from aih_builder.hands.conventions import KEYPOINT_NAMES, KEYPOINT_PARENTS
from aih_builder.identity import Split
from aih_builder.interop.whole_dataset import Part, Stored, Whole, claim, require_library, whole_dataset
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of, run_tasks
from aih_builder.sample import SIDES, Mask, Sample
from aih_builder.shards.reader import Dataset

CATEGORIES = [
    {
        "id": hand + 1,
        "name": f"{side} hand",
        "supercategory": "hand",
        "keypoints": list(KEYPOINT_NAMES),
        "skeleton": [[int(parent) + 1, i + 1] for i, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0],
    }
    for hand, side in enumerate(SIDES)
]

_PARTS = "parts"  # below OUT, while it is written: the entries of each shard


class CocoExport(NamedTuple):
    """What an export wrote."""

    annotations: dict[str, Path]  # by split
    images: int


def export_coco(
    folder: Path,
    out: Path,
    *,
    split: Split | None = None,
    jobs: int | Pool = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> CocoExport:
    """Write a dataset, or one split of it, as COCO; flagged samples are left out.

    Pictures are the stored bytes: JPEG, of a lossless dataset PNG. An export that was stopped goes on. on_progress gets
    shards done and in all. Raises ConfigError where pycocotools is missing, there is nothing to export or OUT holds
    anything else, ShardError where a shard is damaged or a file cannot be written.
    """
    require_library("A COCO export", "pycocotools")
    pool, whole = pool_of(jobs), whole_dataset(folder, split)
    claim(out, "coco", whole.told, {"split": split})
    done = {name: out / "annotations" / f"{name}.json" for name in sorted({part.split for part in whole.parts})}
    wanted = [part for part in whole.parts if not done[part.split].is_file()]
    licences = _licences(whole.dataset) if wanted else []
    todo = [part for part in wanted if not _fragments(out, part)[-1].is_file()]
    with closing(run_tasks(partial(_export_part, out.resolve(), licences), todo, pool)) as results:
        for count, _ in enumerate(results, 1):
            if on_progress is not None:
                on_progress(count, len(todo))
    for name, parts in groupby(sorted(wanted, key=lambda part: part.split), key=lambda part: part.split):
        _assemble(out, done[name], whole, licences, list(parts))
    _clear(out, wanted)
    return CocoExport(done, len(whole.dataset))


def image_entry(stored: Stored, part: Part, licences: list[str]) -> dict[str, Any]:
    """The entry of a sample in `images`; file_name counts from OUT/images."""
    sample = stored.sample
    height, width = sample.image_rgb.shape[:2]
    return {
        "id": sample.index,
        "file_name": f"{part.split}/{part.stem}/{sample.index:012d}{stored.suffix}",
        "width": width,
        "height": height,
        "license": licences.index(sample.licence) + 1,
        "engine": sample.engine,
        "scene_id": sample.scene_id,
        "target_hand": sample.target_hand,
        "pose_family": sample.pose_family,
    }


def annotations_of(sample: Sample) -> Iterator[dict[str, Any]]:
    """The entries of a sample's hands in `annotations`."""
    for hand in np.flatnonzero(sample.hand_present).tolist():
        amodal, visible = sample.amodal_mask[hand], sample.visible_mask[hand]
        hidden, seen = amodal & ~visible, _rle(visible)
        keypoints = _keypoints(sample, hand)
        yield {
            "id": 2 * sample.index + hand + 1,
            "image_id": sample.index,
            "category_id": hand + 1,
            "iscrowd": 0,
            "segmentation": _rle(amodal),
            "area": int(np.count_nonzero(amodal)),
            "bbox": _box(amodal),
            "visible_mask": seen,
            **({"invisible_mask": _rle(hidden)} if hidden.any() else {}),
            "occlude_rate": round(float(sample.occlusion_rate[hand]), 7),
            "inmodal_seg": seen,
            "inmodal_bbox": _box(visible),
            "keypoints": keypoints,
            "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
            "keypoints_visibility": bool(sample.joint_visible_valid[hand]),
        }


def _rle(mask: Mask) -> dict[str, Any]:
    from pycocotools import mask as codec

    rle: Any = codec.encode(np.asfortranarray(mask.view(np.uint8)))
    return {"size": list(map(int, rle["size"])), "counts": rle["counts"].decode()}


def _box(mask: Mask) -> list[int]:
    """x, y, width, height in pixels; zeros where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _keypoints(sample: Sample, hand: int) -> list[float]:
    visible = sample.joint_visible[hand] & sample.joint_visible_valid[hand]
    flat: list[float] = []
    for (x, y), known, seen in zip(sample.joints_px[hand], sample.joint2d_valid[hand], visible, strict=True):
        flat += [round(float(x), 4), round(float(y), 4), 2 if seen else 1] if known else [0, 0, 0]
    return flat


def _licences(dataset: Dataset) -> list[str]:
    """The licences of all samples, each once."""
    return sorted({name.decode() for plain in dataset.small_arrays() for name in np.unique(plain["licence"])})


def _fragments(out: Path, part: Part) -> tuple[Path, Path]:
    """Entries of a shard's images and, there last, of its annotations: JSON objects with commas between."""
    return out / _PARTS / f"{part.stem}.images", out / _PARTS / f"{part.stem}.annotations"


def _export_part(out: Path, licences: list[str], part: Part) -> None:
    """Write the pictures of a shard, then its entries."""
    images, annotations = _fragments(out, part)
    with (
        whole_file(annotations) as annotation_file,
        whole_file(images) as image_file,
        image_file.open("wb") as to_images,
        annotation_file.open("wb") as to_annotations,
    ):
        for stored in part.samples():
            entry = image_entry(stored, part, licences)
            write_whole(out / "images" / entry["file_name"], stored.image)
            _append(to_images, entry)
            for annotation in annotations_of(stored.sample):
                _append(to_annotations, annotation)


def _append(file: BinaryIO, entry: dict[str, Any]) -> None:
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
    file.write((",\n" if file.tell() else "").encode() + text.encode())


def _assemble(out: Path, path: Path, whole: Whole, licences: list[str], parts: list[Part]) -> None:
    """Write a split's annotations from the entries of its shards, a piece at a time."""
    told = whole.told
    head = {
        "info": {
            "description": f"{told['name']}: two interacting hands, amodal and visible masks, keypoints",
            "version": told["plan_hash"],
            "contributor": f"aih-builder {__version__}",
        },
        "licenses": [{"id": i, "name": name, "url": ""} for i, name in enumerate(licences, 1)],
        "categories": CATEGORIES,
    }
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(json.dumps(head, ensure_ascii=False).removesuffix("}").encode())
        for name, number in (("images", 0), ("annotations", 1)):
            file.write(f',\n"{name}": [\n'.encode())
            separator = b""
            for part in parts:
                fragment = _fragments(out, part)[number]
                if fragment.stat().st_size:
                    file.write(separator)
                    with fragment.open("rb") as source:
                        shutil.copyfileobj(source, file)
                    separator = b",\n"
            file.write(b"\n]")
        file.write(b"}\n")


def _clear(out: Path, parts: list[Part]) -> None:
    """Take away the entries by shard, which the annotations hold now."""
    for part in parts:
        for fragment in _fragments(out, part):
            remove(fragment)
    try:
        if (out / _PARTS).is_dir():
            (out / _PARTS).rmdir()
    except OSError as error:
        raise ShardError(f"{out / _PARTS}: cannot be deleted ({error.strerror}). Delete it by hand.") from error
