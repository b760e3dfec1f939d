"""Makes a dataset of the AIH tree that HDR's authors published.

AIH_syn's samples are moved and laid over one another as the official reader does, without its colour augmentation. What
the tree does not tell is marked unknown: joints, poses, cameras, the target of the hand on top. Of AIH_render's other
hand it tells what is seen alone: that stands in for its amodal mask, see sample.amodal_known.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.files import read_json, whole_folder, write_json, write_whole
from aih_builder.identity import SPLITS, EngineName, SampleName, Split, index_of
from aih_builder.interop.official_cfgs import Cfg, parse_cfg, read_cfgs, read_ids
from aih_builder.interop.official_samples import LeftOut, RenderItem, SynItem, sample_of
from aih_builder.interop.official_tree import ANNOTATIONS, EXPORT_FILE, SIZE_PX, Group
from aih_builder.parallel.run import run_tasks
from aih_builder.sample import SIDES
from aih_builder.shards.imported import ORIGIN, write_imported_listing
from aih_builder.shards.writer import ShardHead, ShardWriter
from aih_builder.sources.licences import strictest

log = logging.getLogger(__name__)

PUBLISHED_LICENCE = "CC-BY-NC-4.0"  # of the data set that HDR's authors published
IMPORT_FILE = "import.json"
_MOST_LICENCE_BYTES = 48  # as a sample records it
_REMEDY = "Mend the tree, or leave such samples out with --skip-bad."
Item = SynItem | RenderItem


class Imported(NamedTuple):
    """What an import made."""

    folder: Path
    samples: dict[str, int]  # by engine and split
    left_out: dict[str, int]  # sound samples that the record has no place for, by reason
    bad: list[str]  # what is wrong with each bad one


class _Task(NamedTuple):
    engine: EngineName
    split: Split
    number: int  # of the shard
    first: int  # number of its first sample
    items: Sequence[Item]


class _Settings(NamedTuple):
    tree: Path
    out: Path
    licence: str
    skip_bad: bool


class _Made(NamedTuple):
    shard: dict | None  # None where no sample is left
    left_out: Counter[str]
    bad: list[str]


def import_aih(
    tree: Path,
    out: Path,
    *,
    licence: str | None = None,
    skip_bad: bool = False,
    shard_samples: int = 1000,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Make the dataset folder `out` of the folder that holds AIH_syn and AIH_render, or one of them.

    licence: of all samples; by default what our own export says, else that of the published AIH. Bad samples end it, or
    are left out with skip_bad; a list or a file of records that cannot be read always does. on_progress gets samples
    done and in all. Raises ConfigError for a folder of another kind, AssetError for bad content.
    """
    if not any((tree / part).is_dir() for part in ("AIH_syn", "AIH_render")):
        raise ConfigError(f"{tree}: holds neither AIH_syn nor AIH_render. Expected the folder of the AIH data set.")
    settings = _Settings(tree, out, _licence(tree, licence), skip_bad)
    bad: list[str] = []
    tasks = [
        _Task(engine, split, number, first, items[first : first + shard_samples])
        for engine, find in _FIND.items()
        for split in SPLITS
        for items in [find(tree, split, bad)]
        for number, first in enumerate(range(0, len(items), shard_samples))
    ]
    if bad and not skip_bad:
        raise AssetError(f"{bad[0]}. {_REMEDY}")
    total, done, left_out, shards = sum(len(task.items) for task in tasks), 0, Counter[str](), {}
    if not total:
        raise AssetError(f"{tree}: holds no sample that can be read ({len(bad)} bad records). Fetch it again.")
    with whole_folder(out) as root:
        make = partial(_make_shard, settings._replace(out=root))
        with closing(run_tasks(make, tasks, jobs)) as results:
            for position, made in results:
                shards[position] = made.shard
                left_out += made.left_out
                bad += made.bad
                done += len(tasks[position].items)
                if on_progress is not None:
                    on_progress(done, total)
        listed = [shard for position in sorted(shards) if (shard := shards[position]) is not None]
        if not listed:
            raise AssetError(f"{tree}: no sample is left ({len(bad)} bad, {left_out.total()} without a place).")
        bad.sort()
        source = {"kind": "the AIH data set's tree", "licences": settings.licence.split(" AND ")}
        held = write_imported_listing(root, listed, name=f"aih-{ORIGIN}", size_px=SIZE_PX, source=source)
        about = {"format": "aih-import", "tree": str(tree.absolute()), "left_out": dict(left_out), "bad": bad}
        write_json(root / IMPORT_FILE, about)
    counts = {f"{engine}/{split}": n for engine, of in held["counts"].items() for split, n in of.items() if n}
    return Imported(out, counts, dict(left_out), bad)


def _licence(tree: Path, told: str | None) -> str:
    exported = tree / EXPORT_FILE
    if told is None and exported.is_file():
        try:
            licences = [str(licence) for licence in read_json(exported)["licences"]]
            told = strictest(*licences) if licences else ""  # which is refused below
        except (ShardError, KeyError, TypeError) as error:
            raise ConfigError(f"{exported}: damaged ({error}). Say whose samples these are with --licence.") from error
    licence = PUBLISHED_LICENCE if told is None else told
    if not 0 < len(licence.encode()) <= _MOST_LICENCE_BYTES or not licence.isprintable():
        raise ConfigError(f"licence is {licence!r}, expected 1 to {_MOST_LICENCE_BYTES} bytes, as a sample records it.")
    return licence


def _syn_items(tree: Path, split: Split, bad: list[str]) -> list[SynItem]:
    """AIH_syn's samples of a split; adds records that are wrong to `bad`."""
    items: list[SynItem] = []
    for group in (Group(annotation, split) for annotation in ANNOTATIONS):
        file = group.cfg_file(tree)
        if not file.exists():
            if (folder := group.syn_image(tree, 0).parent.parent).is_dir():
                log.warning("%s: left out, there is no %s", folder, file)
            continue
        ids = [read_ids(group.list_file(tree, side)) for side in (0, 1)]
        for place, record in enumerate(read_cfgs(file)):
            try:
                items.append(_syn_item(group, place, parse_cfg(record, [len(of) for of in ids]), ids))
            except ValueError as error:
                bad.append(f"{file}: record {place} {error}")
    return items


def _syn_item(group: Group, place: int, cfg: Cfg, ids: Sequence[Sequence[int]]) -> SynItem:
    return SynItem(group, place, cfg, ids[cfg.target][cfg.target_place], ids[1 - cfg.target][cfg.other_place])


def _render_items(tree: Path, split: Split, bad: list[str]) -> list[RenderItem]:
    """AIH_render's samples of a split; adds files that are no samples to `bad`."""
    items: list[RenderItem] = []
    for group in (Group(annotation, split) for annotation in ANNOTATIONS):
        for side in range(len(SIDES)):
            folder = group.render_image(tree, side, "IH")
            if not folder.is_dir():
                continue
            try:
                names = sorted(path.name for path in folder.iterdir())
            except OSError as error:
                raise AssetError(f"{folder}: cannot be read ({error.strerror}). Fetch it again.") from error
            for name in names:
                if name.endswith(".jpg"):
                    items.append(RenderItem(group, side, name.removesuffix(".jpg")))
                else:
                    bad.append(f"{folder / name}: no .jpg, yet the official reader would take it for a sample")
    return items


_FIND: dict[EngineName, Callable[[Path, Split, list[str]], Sequence[Item]]] = {
    "render": _render_items,
    "sync": _syn_items,
}


def _make_shard(settings: _Settings, task: _Task) -> _Made:
    head = ShardHead(task.engine, task.split, task.number, ORIGIN, (), False)
    writer, kept = ShardWriter(head), 0
    left_out, bad = Counter[str](), list[str]()
    for item in task.items:
        index = index_of(SampleName(task.engine, task.split, task.first + kept))
        try:
            writer.add(sample_of(settings.tree, item, index, settings.licence))
            kept += 1
        except LeftOut as reason:
            left_out[str(reason)] += 1
        except AssetError as error:
            if not settings.skip_bad:
                raise AssetError(f"{error} {_REMEDY}") from error
            bad.append(str(error))
    if not kept:
        return _Made(None, left_out, bad)
    data = writer.to_bytes()
    file = f"{task.engine}/{task.split}/{task.engine}-{task.split}-{task.number:05d}.h5"
    write_whole(settings.out / file, data)
    shard = {"file": file, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "samples": kept}
    return _Made(shard | {"engine": task.engine, "split": task.split, "first": task.first}, left_out, bad)
