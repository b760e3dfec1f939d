"""Reading everything back: checksums, the index, and every invariant of every sample."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AihError
from aih_builder.files import read_json, sha256_of
from aih_builder.forearm_region import forearm_region
from aih_builder.hands.model import HandModel
from aih_builder.hands.surface import HandSurface
from aih_builder.identity import indices_of
from aih_builder.imaging import grown
from aih_builder.invariants import violations
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of, run_tasks
from aih_builder.sample import SIDES, Mask, Sample, intruder_mask
from aih_builder.shards.format import COLUMNS_FILE, LISTING_FILE
from aih_builder.shards.imported import imported_listing
from aih_builder.shards.listing import listing
from aih_builder.shards.plan import Plan, Shard, digests_of, load_plan
from aih_builder.shards.reader import ShardReader, open_dataset
from aih_builder.shards.remake import departures
from aih_builder.shards.tasks import engine_for, one_thread, read_record, shard_state
from aih_builder.sources.bank import Bank
from aih_builder.synth.assets import load_hands
from aih_builder.synth.renderers.rasterize import silhouette

MIN_MASK_IOU = 0.98  # amodal mask against the mesh that the stored parameters give
MAX_UNSEEN = 0.2  # of a hand's mesh: what its own forearm, itself behind the other hand, may take from it
MAX_JOINT_ERROR_M = 2e-6  # float32 steps at 1 m, a few of them
_WORTH_COMPARING_PX = 64
# A moved picture is no mesh: so many pixels of a small hand may be covered by one half, and fall either way.
_BORDERLINE_PX = 8


class Problem(NamedTuple):
    """One thing that is wrong. sample is the position in the shard, or None for the shard as a whole."""

    file: str
    sample: int | None
    message: str
    mendable: bool = True  # by making the shard again; else the check itself was held up

    def __str__(self) -> str:
        place = self.file if self.sample is None else f"{self.file} sample {self.sample}"
        return f"{place}: {self.message}"


class Report(NamedTuple):
    """What a validation read and found."""

    shards: int
    samples: int
    problems: list[Problem]


Hands = tuple[tuple[HandModel, HandModel], tuple[HandSurface, HandSurface]]


def validate(
    path: str | PathLike[str],
    *,
    jobs: int | Pool = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a dataset folder: every file against its checksum, every sample against every invariant. Of an imported one
    there is no plan or mesh to hold it against.

    jobs is the number of processes, or a pool of other workers; on_progress gets shards done and in all. Raises
    ConfigError where the folder holds no plan or jobs is below 1, ShardError where plan.json is unreadable; all else is
    reported.
    """
    pool = pool_of(jobs)
    if (held := imported_listing(Path(path))) is not None:
        return _validate_imported(Path(path), held, pool, on_progress)
    plan = load_plan(Path(path))
    shards = plan.shards()
    problems = [*check_cache(plan), *_check_listing(plan), *check_strangers(plan)]
    samples, found = check_shards(plan, shards, pool, on_progress)
    return Report(len(shards), samples, problems + found)


def _validate_imported(
    folder: Path, held: dict[str, Any], pool: Pool, on_progress: Callable[[int, int], None] | None
) -> Report:
    dataset = open_dataset(folder, flagged=True)  # which checks what dataset.json says of them
    samples, found, shards = 0, {}, dataset.shards
    with closing(run_tasks(partial(_check_imported, folder.resolve(), held["image_size_px"]), shards, pool)) as results:
        for position, (read, of_shard) in results:
            samples += read
            found[position] = of_shard
            if on_progress is not None:
                on_progress(len(found), len(shards))
    problems = [problem for position in sorted(found) for problem in found[position]]
    known = {shard["file"] for shard in shards} | {COLUMNS_FILE}
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.h5"))
    strangers = [Problem(name, None, "is not part of the import", False) for name in names if name not in known]
    return Report(len(shards), samples, strangers + problems)


def _check_imported(folder: Path, size_px: int, shard: dict[str, Any]) -> tuple[int, list[Problem]]:
    """Samples read from one shard of an imported dataset, and its problems."""
    one_thread()
    file = shard["file"]
    try:
        if (found := sha256_of(folder / file)) != shard.get("sha256"):
            text = f"sha256 is {found[:12]}, recorded is {str(shard.get('sha256'))[:12]}; import it again"
            return 0, [Problem(file, None, text, False)]
        reader = ShardReader(folder / file)
    except AihError as error:
        return 0, [Problem(file, None, str(error), False)]
    indices = indices_of(shard["engine"], shard["split"], shard["first"], shard["first"] + shard["samples"])
    if reader.plain["index"].tolist() != list(indices):
        return 0, [Problem(file, None, "sample indices are not those that dataset.json gives", False)]
    problems = []
    for i in range(len(reader)):
        try:
            sample = reader.sample(i)
        except AihError as error:
            problems.append(Problem(file, i, str(error), False))
            continue
        with np.errstate(all="ignore"):
            texts = violations(sample)
        if sample.image_rgb.shape[:2] != (size_px, size_px):
            texts.append(f"the image has {sample.image_rgb.shape[:2]} pixels, expected {size_px} x {size_px}")
        problems += [Problem(file, i, text, False) for text in texts]
    return len(reader), problems


def check_shards(
    plan: Plan, shards: list[Shard], jobs: int | Pool, on_progress: Callable[[int, int], None] | None = None
) -> tuple[int, list[Problem]]:
    """Samples read from some shards of a plan, and the problems of these shards."""
    samples, found = 0, {}
    with closing(run_tasks(partial(check_shard, plan.folder.resolve()), shards, jobs)) as results:
        for position, (read, of_shard) in results:
            samples += read
            found[position] = of_shard
            if on_progress is not None:
                on_progress(len(found), len(shards))
    return samples, [problem for position in sorted(found) for problem in found[position]]


def check_shard(folder: Path, shard: Shard) -> tuple[int, list[Problem]]:
    """Samples read from one shard of a dataset folder, and its problems. A shard of another checksum is not read."""
    one_thread()
    plan = load_plan(folder)

    def problem(text: str, sample: int | None = None, *, mendable: bool = True) -> Problem:
        return Problem(shard.file, sample, text, mendable)

    state = shard_state(plan, shard)
    if state.state != "done":
        return 0, [problem(f"{state.state}{': ' if state.reason else ''}{state.reason}")]
    try:
        hands = _hands(plan)
    except AihError as error:
        return 0, [problem(str(error), mendable=False)]
    try:
        wanted, found = read_record(folder, shard)["sha256"], sha256_of(folder / shard.file)
        if found != wanted:
            return 0, [problem(f"sha256 is {found[:12]}, recorded is {wanted[:12]}; `aih repair` makes it again")]
        reader = ShardReader(folder / shard.file)
    except AihError as error:
        return 0, [problem(str(error))]
    problems = [problem(text) for text in _check_head(plan, shard, reader)]
    engine = None
    if shard.engine == "sync":
        try:
            engine = engine_for(plan, "sync")
        except AihError as error:  # the bank is away or damaged: the rest can be checked all the same
            problems.append(problem(f"cannot be compared with its pictures: {error}", mendable=False))
    for i in range(len(reader)):
        try:
            sample = reader.sample(i)
        except AihError as error:
            problems.append(problem(str(error), i))
            continue
        with np.errstate(all="ignore"):  # damaged numbers may overflow; what comes of it is reported
            texts = [*violations(sample), *_against_plan(sample, plan, shard), *_against_mesh(sample, hands)]
            if engine is not None and sample.index == shard.indices[i]:
                texts += departures(sample, reader, engine)
        problems += [problem(text, i) for text in texts]
    return len(reader), problems


_loaded: dict[tuple[Path, str], Hands] = {}


def _hands(plan: Plan) -> Hands:
    key = plan.folder.resolve(), plan.plan_hash
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_hands(plan.manifest, plan.cache)
    return _loaded[key]


def check_cache(plan: Plan) -> list[Problem]:
    """The hand, the poses and the textures must still be those of the plan: a remade shard would differ."""
    return list(_check_cache(plan))


def _check_cache(plan: Plan) -> Iterator[Problem]:
    try:
        found = digests_of(plan.cache)
    except AihError as error:
        yield Problem("cache", None, str(error))
        return
    if found["hand"] != plan.digests["hand"]:
        yield Problem("cache", None, "the hand model is not the one that was planned")
    if found["poses"] != plan.digests["poses"]:
        yield Problem("cache", None, "the poses are not those that were planned")
    for name in sorted(plan.digests["textures"].keys() | found["textures"].keys()):
        if plan.digests["textures"].get(name) != found["textures"].get(name):
            yield Problem("cache", None, f"texture file {name} is not the one that was planned")
    if plan.bank is not None and plan.bank_file is not None:
        try:
            bank = Bank(plan.bank_file)
            bank.check()
        except AihError as error:
            yield Problem("cache", None, str(error))
            return
        if bank.digest != plan.bank["digest"]:
            yield Problem("cache", None, f"the bank {plan.bank_file} is not the one that was planned")


def _check_listing(plan: Plan) -> Iterator[Problem]:
    """dataset.json must say what the plan and the records beside the shards say."""
    try:
        found = read_json(plan.folder / LISTING_FILE)
    except AihError as error:
        yield Problem(LISTING_FILE, None, f"missing or damaged ({error}); run `aih generate` or `aih index`")
        return
    try:
        expected = listing(plan)
    except AihError:
        yield Problem(LISTING_FILE, None, "is there, yet not every shard is")
        return
    for key in [*expected, *(key for key in found if key not in expected)]:
        if found.get(key) != expected.get(key):
            what = "" if key == "shards" else f", found {found.get(key)}, expected {expected.get(key)}"
            yield Problem(LISTING_FILE, None, f"'{key}' is not what the plan and the shards' records give{what}")


def check_strangers(plan: Plan) -> Iterator[Problem]:
    """HDF5 files in the folder that are not the plan's."""
    known = {shard.file for shard in plan.shards()} | {COLUMNS_FILE}
    for path in sorted(plan.folder.rglob("*.h5")):
        if path != plan.bank_file and (name := path.relative_to(plan.folder).as_posix()) not in known:
            yield Problem(name, None, "is not part of the plan")


def _check_head(plan: Plan, shard: Shard, reader: ShardReader) -> Iterator[str]:
    expected = {
        "engine": shard.engine,
        "split": shard.split,
        "number": shard.number,
        "plan_hash": plan.plan_hash,
        "lossless": plan.manifest.lossless,
    }
    for key, value in expected.items():
        if (found := reader.attributes.get(key)) != value:
            yield f"attribute {key} is {found}, expected {value}"
    if sorted(reader.fields) != sorted(wanted := plan.manifest.fields_of(shard.engine)):
        yield f"stores the optional fields {reader.fields}, expected {list(wanted)}"
    if reader.plain["index"].tolist() != shard.indices:
        yield "sample indices are not those of the plan"


def _against_plan(sample: Sample, plan: Plan, shard: Shard) -> Iterator[str]:
    expected = {"engine": shard.engine, "split": shard.split, "seed": plan.manifest.seed}
    for key, value in expected.items():
        if (found := getattr(sample, key)) != value:
            yield f"{key} is {found}, expected {value}"
    if sample.attempt < (first := plan.overrides.get(sample.index, 1)):
        yield f"attempt is {sample.attempt}, overrides.json asks for {first} or a later one"
    size = (plan.manifest.image_size_px,) * 2
    if (found := sample.image_rgb.shape[:2]) != size:
        yield f"the image has {found} pixels, expected {size}"
    if sample.engine == "render":
        flags = (sample.target_valid, sample.joint3d_valid, sample.joint2d_valid, sample.joint_visible_valid)
        for hand in (0, 1):
            if any((flag[hand] != sample.hand_present[hand]).any() for flag in (*flags, sample.pose_valid)):
                yield f"{SIDES[hand]} hand: a rendered hand is known whole or absent, its flags say otherwise"
    else:
        if not sample.hand_present.all():
            yield "an AIH-Sync sample lacks a hand"
        if sample.target_hand not in (0, 1) or not sample.target_valid[sample.target_hand]:
            yield "an AIH-Sync sample lacks its target"


def _against_mesh(sample: Sample, hands: Hands) -> Iterator[str]:
    """Masks and joints must be those of the mesh that the stored pose, betas and translation give."""
    for i, (model, surface) in enumerate(zip(*hands, strict=True)):
        if not sample.pose_valid[i]:
            continue
        posed = model.pose(sample.mano_pose_rad[i], sample.mano_betas[i], sample.mano_trans_m[i])
        error_m = float(np.abs(posed.joints_m - sample.cam_joints_m[i]).max())
        if error_m > MAX_JOINT_ERROR_M:
            yield f"{model.side} hand: joints lie up to {1000 * error_m:.3f} mm from those of the stored pose"
        positions_m = surface.pose(posed.vertices_m).positions_m
        if (positions_m[:, 2] <= 0).any():
            yield f"{model.side} hand: the stored pose reaches behind the camera"
            continue
        size_px = sample.image_rgb.shape[0]
        mesh = silhouette(positions_m, surface.faces, sample.K_px[i].astype(np.float64), size_px)
        mask = sample.amodal_mask[i]
        if sample.forearm_mask is not None:
            mesh = mesh & (mask | ~_taken_by_its_forearm(sample, i, sample.forearm_mask, mesh))
        union = int((mesh | mask).sum())
        apart = int((mesh ^ mask).sum())
        iou = 1 - apart / max(union, 1)
        borderline_px = _BORDERLINE_PX if sample.engine == "sync" else 0
        if union >= _WORTH_COMPARING_PX and iou < MIN_MASK_IOU and apart > borderline_px:
            yield f"{model.side} hand: amodal mask and projected mesh agree to IoU {iou:.3f}, expected {MIN_MASK_IOU}"


def _taken_by_its_forearm(sample: Sample, hand: int, forearm_mask: Mask, mesh: Mask) -> Mask:
    """Where a hand's mesh may lie behind its own forearm: where that is seen, or may be behind the other hand.

    Of the latter no mask tells, so that it excuses little.
    """
    seen = forearm_mask[hand]
    unseen = intruder_mask(sample, hand) & ~sample.amodal_mask[hand] & grown(forearm_region(sample, hand), 1)
    return seen if (mesh & unseen).sum() > MAX_UNSEEN * mesh.sum() else seen | unseen
