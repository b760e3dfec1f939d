"""Writes a dataset as the tree that HDR's authors train hand amodal segmentation (HASM) on.

    {human|machine}_annot/{train|val|test}/images/NAME.jpg
    {human|machine}_annot/{train|val|test}/labels/{l_amodal|l_visible|r_amodal|r_visible}/NAME.png    u8, 0 or 1

An absent hand's masks are empty: HASM must learn these, too. Pictures are the dataset's, of whatever size and framing.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.files import whole_folder, write_json
from aih_builder.identity import name_of
from aih_builder.imaging import encode_jpeg, encode_png
from aih_builder.interop.official_tree import EXPORT_FILE, Exported, Group, annotation_of, require_share, source_of
from aih_builder.parallel.run import run_tasks
from aih_builder.sample import SIDES, Sample, amodal_known
from aih_builder.shards.reader import Dataset, open_dataset

_KINDS = ("amodal", "visible")


class _Part(NamedTuple):
    """Samples of one shard: their places in the dataset, each with its group."""

    places: list[int]
    groups: list[Group]


def export_hasm(
    path: Path,
    out: Path,
    *,
    human_share: float = 0.4,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a dataset folder as a tree for HASM; flagged samples are left out, and those whose amodal masks an import
    could not know.

    human_share: of the train samples whose record does not say who annotated them. on_progress gets samples done and in
    all. Raises ConfigError, and writes nothing, where no sample is left or `out` is no place for them.
    """
    require_share(human_share)
    dataset = open_dataset(path)
    left_out: Counter[str] = Counter({"flagged": len(dataset.left_out)} if dataset.left_out else {})
    parts = _parts(dataset, human_share, left_out)
    total = sum(len(part.places) for part in parts)
    if not total:
        raise ConfigError(f"{path}: holds no sample to export ({dict(left_out) or 'it is empty'}).")
    groups = Counter(str(group) for part in parts for group in part.groups)
    with whole_folder(out) as root:
        for group in groups:
            for folder in ("images", *(f"labels/{label}" for label in _labels())):
                (root / group / folder).mkdir(parents=True)
        done = 0
        with closing(run_tasks(partial(_write, dataset, root), parts, jobs)) as results:
            for _, count in results:
                done += count
                if on_progress is not None:
                    on_progress(done, total)
        written = dict(sorted(groups.items()))
        about = {"format": "aih-export", "version": 1, "tree": "hasm"} | source_of(path)
        about |= {"human_share": human_share, "written": written, "left_out": dict(left_out)}
        write_json(root / EXPORT_FILE, about)
    return Exported(out, written, dict(left_out))


def _labels() -> dict[str, tuple[str, int]]:
    """Each folder of masks: which mask, of which side."""
    return {f"{SIDES[side][0]}_{kind}": (kind, side) for side in (1, 0) for kind in _KINDS}


def _parts(dataset: Dataset, human_share: float, left_out: Counter[str]) -> list[_Part]:
    parts, at = [], 0
    for number, shard in enumerate(dataset.shards):
        arrays: dict[str, Any] = dataset.small_arrays_of(number) if shard["samples"] else {}
        part = _Part([], [])
        for i in range(shard["samples"]):
            if not amodal_known(shard["engine"], arrays["hand_present"][i], arrays["target_valid"][i]).all():
                left_out["a hand whose amodal mask is not known"] += 1
                continue
            index = int(arrays["index"][i])
            split = name_of(index).split
            part.places.append(at + i)
            annotation = annotation_of(arrays["annotation"][i].decode(), split, index, human_share)
            part.groups.append(Group(annotation, split))
        parts += [part] if part.places else []
        at += shard["samples"]
        dataset.release()
    return parts


def _write(dataset: Dataset, root: Path, part: _Part) -> int:
    for place, group in zip(part.places, part.groups, strict=True):
        _write_sample(root / str(group), dataset[place])
    dataset.release()
    return len(part.places)


def _write_sample(folder: Path, sample: Sample) -> None:
    name = f"{sample.engine}-{name_of(sample.index).number}"
    (folder / "images" / f"{name}.jpg").write_bytes(encode_jpeg(sample.image_rgb))
    for label, (kind, side) in _labels().items():
        mask = getattr(sample, f"{kind}_mask")[side].astype(np.uint8)
        (folder / "labels" / label / f"{name}.png").write_bytes(encode_png(mask))
