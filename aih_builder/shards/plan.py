"""A plan fixes, once, all that a dataset depends on. Tasks only read it.

DIR/manifest.yaml (resolved), DIR/cache/ (hand arrays, textures, a rendered bank), DIR/plan.json (last: its presence
says the plan is whole). DIR/overrides.json, where some samples are not the first ones that their index gives.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aih_builder import __version__
from aih_builder.config import Manifest, dump_manifest, load_manifest
from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json, remove, remove_stale, sha256_of, write_json, write_whole
from aih_builder.hands.arrays import load_hand_arrays
from aih_builder.identity import SPLITS, EngineName, Split, indices_of, name_of, within
from aih_builder.sample import SCHEMA_VERSION
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.imported import imported_listing
from aih_builder.shards.overrides import OVERRIDES_FILE, as_json, read_overrides
from aih_builder.shards.plan_pools import (
    bank_record,
    check_bank,
    fill_cache,
    hand_of,
    plan_bank,
    require_bank,
    require_planned_bank,
    require_pools,
    require_same_hand,
)
from aih_builder.shards.plan_poses import (
    fill_poses,
    read_poses,
    require_planned_poses,
    require_poses,
    require_same_poses,
)
from aih_builder.shards.plan_sources import sources, state_sources
from aih_builder.sources.backgrounds import BackgroundPool
from aih_builder.sources.bank import Bank
from aih_builder.sources.pose_library import load_library
from aih_builder.sources.textures import TEXTURE_SOURCES, FolderTextures
from aih_builder.synth.assets import BANK_FILE, HAND_FILE, POSES_FILE, TEXTURES_FOLDER
from aih_builder.synth.renderers.backends import resolve

log = logging.getLogger(__name__)

_FORMAT = "aih-plan"
_OWN = {"manifest.yaml", "cache"}  # what an interrupted planning may leave


class Shard(NamedTuple):
    """One shard task: samples first to last (exclusive) of an engine and split."""

    engine: EngineName
    split: Split
    number: int
    first: int
    last: int

    @property
    def file(self) -> str:
        """Path of the shard below the dataset's folder."""
        return f"{self.engine}/{self.split}/{self.engine}-{self.split}-{self.number:05d}.h5"

    @property
    def indices(self) -> list[int]:
        """Indices of its samples."""
        return list(indices_of(self.engine, self.split, self.first, self.last))

    def first_attempts(self, overrides: Mapping[int, int]) -> dict[int, int]:
        """What overrides, which ascend, say about its samples."""
        if not overrides:
            return {}
        indices = indices_of(self.engine, self.split, self.first, self.last)
        return {index: overrides[index] for index in within(list(overrides), indices)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a dataset folder is to hold."""

    folder: Path
    manifest: Manifest
    plan_hash: str
    renderer: str
    backgrounds: dict[str, Any]
    stated: dict[str, Any]  # of the sources, as state_sources gives it
    digests: dict[str, Any]  # of the cache folder, as digests_of gives them
    bank: dict[str, Any] | None  # as bank_record gives it
    overrides: Mapping[int, int]  # first attempts by index, ascending, of samples that are not drawn from 1 on

    @property
    def cache(self) -> Path:
        """The folder of baked assets."""
        return self.folder / "cache"

    @property
    def bank_file(self) -> Path | None:
        """Where AIH-Sync's single hands are; None where nothing asks for them."""
        if self.bank is None:
            return None
        return self.cache / BANK_FILE if self.bank["path"] is None else Path(self.bank["path"])

    @property
    def sources(self) -> dict[str, Any]:
        """Each pool: what it is, its digest, how much there is of it, its licences."""
        backgrounds = BackgroundPool.from_json(self.backgrounds)
        return sources(self.manifest, self.stated, self.digests, backgrounds, self.bank)

    @property
    def licences(self) -> list[str]:
        """The licences of all sources, each once."""
        return sorted({licence for source in self.sources.values() for licence in source["licences"]})

    @property
    def identity(self) -> str:
        """What a dataset is: the plan's hash and, where there are any, the overrides. Equal where all samples are."""
        if not self.overrides:
            return self.plan_hash
        text = json.dumps([self.plan_hash, as_json(self.overrides)], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def shards(self) -> list[Shard]:
        """All shards, in the order in which `--shards A:B` counts them."""
        return list(shards_of(self.manifest))

    def strangers(self, indices: Iterable[int]) -> list[int]:
        """Those of some indices that no sample of the plan has."""
        counts = self.manifest.streams.counts()

        def known(index: int) -> bool:
            try:
                engine, split, number = name_of(index)
            except ConfigError:
                return False
            return engine in counts and number < counts[engine].of(split)

        return [index for index in indices if not known(index)]

    def shard_of(self, index: int) -> Shard:
        """The shard that holds a sample. Raises ConfigError where none does."""
        engine, split, number = name_of(index)
        of_stream = [shard for shard in self.shards() if (shard.engine, shard.split) == (engine, split)]
        for shard in of_stream:
            if shard.first <= number < shard.last:
                return shard
        raise ConfigError(
            f"{self.folder}: holds no sample with index {index}: it would be number {number} of {engine} / {split}, "
            f"which has {sum(shard.last - shard.first for shard in of_stream)} (numbers begin at 0)."
        )


def shards_of(manifest: Manifest) -> Iterator[Shard]:
    """The shards that a manifest asks for, in their order."""
    size = manifest.shard_samples
    for engine, counts in manifest.streams.counts().items():
        for split in SPLITS:
            count = counts.of(split)
            for number, first in enumerate(range(0, count, size)):
                yield Shard(engine, split, number, first, min(first + size, count))


def make_plan(manifest: Manifest, folder: Path) -> Plan:
    """Plan a dataset in a folder, or take up the plan that is there if the same manifest made it.

    Counts may grow; indices and samples stay. Raises ConfigError for a folder that holds anything else, which is
    left untouched. What can be wrong with the sources is found before anything is written.
    """
    if (folder / "plan.json").is_file():
        return _resume(manifest, folder)
    try:
        _refuse_foreign(manifest, folder)
    except ConfigError:
        if (folder / "plan.json").is_file():  # another run has just planned it
            return _resume(manifest, folder)
        raise
    if manifest.total() == 0:
        raise ConfigError("streams: every count is 0; ask for at least one sample.")
    chosen, cache = manifest.pools, folder / "cache"
    backgrounds = BackgroundPool(chosen.backgrounds.procedural, chosen.backgrounds.licensed())
    brought = hand_of(manifest)
    hand = brought.arrays
    textures = TEXTURE_SOURCES[chosen.textures.source](chosen.textures, manifest.seed, hand)
    poses = read_poses(manifest, hand)
    require_pools(manifest, hand, textures, backgrounds, poses)
    textures.check()
    check_bank(manifest, hand, backgrounds)
    remove_stale(folder)
    write_whole(folder / "manifest.yaml", dump_manifest(manifest).encode())
    fill_cache(cache, hand, textures)
    fill_poses(cache, poses)
    renderer = resolve(manifest.renderer)
    bank = plan_bank(manifest, cache, textures, backgrounds, renderer, hand, poses)
    content = {
        "format": _FORMAT,
        "schema": SCHEMA_VERSION,
        "version": __version__,
        "renderer": renderer,
        **digests_of(cache),
        "backgrounds": backgrounds.to_json(),
        "bank": None if bank is None else bank_record(manifest, bank),
        "sources": state_sources(brought, textures, poses, bank),
    }
    content["plan_hash"] = _hash(manifest, content)
    write_json(folder / "plan.json", content)
    log.info("planned %d samples in %s, renderer %s", manifest.total(), folder, content["renderer"])
    return load_plan(folder)


def load_plan(folder: Path) -> Plan:
    """The plan of a folder. Raises ConfigError where there is none, where it is damaged or does not belong to the
    manifest.yaml beside it, where another version made it or overrides.json names samples that it has not; ShardError
    where overrides.json is damaged.
    """
    if not (folder / "plan.json").is_file():
        if imported_listing(folder) is not None:
            raise ConfigError(
                f"{folder}: was imported, so there is no plan by which its samples could be made, or made again. Where "
                "something is wrong with it, import it again with `aih import`."
            )
        raise ConfigError(f"{folder}: holds no plan.json. Expected a folder made by `aih generate` or `aih plan`.")
    content = read_json(folder / "plan.json")
    if content.get("format") != _FORMAT:
        raise ConfigError(f"{folder / 'plan.json'}: not a plan of this package (no format '{_FORMAT}').")
    if content.get("version") != __version__:
        raise ConfigError(
            f"{folder}: planned by version {content.get('version')}, this is {__version__}. "
            "Go on with that version, or generate into a new folder."
        )
    manifest = load_manifest(folder / "manifest.yaml")
    try:
        whole = content["plan_hash"] == _hash(manifest, content)
        renderer, backgrounds, stated, bank = (content[key] for key in ("renderer", "backgrounds", "sources", "bank"))
    except KeyError as error:
        raise ConfigError(
            f"{folder / 'plan.json'}: damaged, it lacks {error}, or of an older state of this version. "
            "Generate into a new folder."
        ) from error
    if not whole:
        raise ConfigError(
            f"{folder}: manifest.yaml or plan.json was changed by hand, they do not belong together. "
            "Put the old files back, or generate into a new folder."
        )
    planned = {key: content.get(key) for key in ("hand", "textures", "poses")}
    overrides = read_overrides(folder)
    plan = Plan(folder, manifest, content["plan_hash"], renderer, backgrounds, stated, planned, bank, overrides)
    if strangers := plan.strangers(overrides):
        raise ConfigError(
            f"{folder / OVERRIDES_FILE}: names {len(strangers)} samples that the plan does not hold (index "
            f"{', '.join(map(str, strangers[:5]))}). It belongs to another or a larger dataset: take them out, or "
            "delete it."
        )
    return plan


def identity_of(folder: Path) -> str:
    """What a dataset is, planned or imported. Raises as load_plan does."""
    held = imported_listing(folder)
    return load_plan(folder).identity if held is None else str(held["plan_hash"])


def digests_of(cache: Path) -> dict[str, Any]:
    """What lies in a plan's cache folder. Raises AssetError or ShardError where it cannot be read."""
    textures = cache / TEXTURES_FOLDER
    try:
        names = sorted(path.name for path in textures.iterdir() if ".tmp-" not in path.name)
    except OSError as error:
        raise ShardError(f"{textures}: cannot be read ({error.strerror}). Generate into a new folder.") from error
    return {
        "hand": load_hand_arrays(cache / HAND_FILE).digest(),
        "textures": {name: sha256_of(textures / name) for name in names},
        "poses": load_library(cache / POSES_FILE).digest() if (cache / POSES_FILE).is_file() else None,
    }


def _resume(manifest: Manifest, folder: Path) -> Plan:
    plan = _with_bank_at(load_plan(folder), manifest)
    old, new = _flat(_identity(plan.manifest)), _flat(_identity(manifest))
    if different := sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        raise ConfigError(
            f"{folder}: holds a dataset of another manifest; it differs in {', '.join(different)}. "
            "It was left untouched. Choose another folder, or use the manifest.yaml in that folder."
        )
    before, now = plan.manifest.streams.counts(), manifest.streams.counts()
    for engine, counts in now.items():
        for split in SPLITS:
            if counts.of(split) < (held := before[engine].of(split)):
                raise ConfigError(
                    f"{folder}: holds {held} {split} samples of {engine}, the manifest asks for {counts.of(split)}. "
                    "A dataset only grows."
                )
    hand = load_hand_arrays(plan.cache / HAND_FILE)
    if manifest.hands != plan.manifest.hands:
        require_same_hand(manifest, hand.digest())
    if manifest.pools.poses.path != plan.manifest.pools.poses.path:
        require_same_poses(manifest, hand, plan.digests["poses"])
    if now == before:
        return plan
    textures = FolderTextures(plan.cache / TEXTURES_FOLDER, hand)
    poses = require_planned_poses(plan.cache, plan.digests["poses"])
    if poses is not None:
        require_poses(manifest, hand, poses)
    require_pools(manifest, hand, textures, BackgroundPool.from_json(plan.backgrounds), poses)
    if plan.bank is not None and plan.bank_file is not None:
        require_planned_bank(plan.bank_file, plan.bank)
        require_bank(manifest, Bank(plan.bank_file))
    log.info("%s grows from %d to %d samples", folder, plan.manifest.total(), manifest.total())
    remove(folder / LISTING_FILE)
    write_whole(folder / "manifest.yaml", dump_manifest(manifest).encode())
    remove(folder / LISTING_FILE)  # another run may just have finished what was asked for before
    return load_plan(folder)


def _with_bank_at(plan: Plan, manifest: Manifest) -> Plan:
    """The plan with its bank file where the manifest says that it now lies, if it is the same."""
    path = manifest.pools.bank.path
    if plan.bank is None or plan.bank["path"] is None or path is None or str(path) == plan.bank["path"]:
        return plan
    require_planned_bank(path, plan.bank)
    pools = plan.manifest.pools.model_copy(update={"bank": manifest.pools.bank})
    write_whole(
        plan.folder / "manifest.yaml", dump_manifest(plan.manifest.model_copy(update={"pools": pools})).encode()
    )
    content = read_json(plan.folder / "plan.json")
    content["bank"] = plan.bank | {"path": str(path)}
    write_json(plan.folder / "plan.json", content)
    remove(plan.folder / LISTING_FILE)  # it names the file, too
    return load_plan(plan.folder)


def _refuse_foreign(manifest: Manifest, folder: Path) -> None:
    """An empty folder is welcome, and one where planning the same manifest was interrupted."""
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise ConfigError(f"{folder}: is a file. Expected a folder to write a dataset into.")
        present = {path.name for path in folder.iterdir() if ".tmp-" not in path.name}
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror}). Choose another folder.") from error
    if present and not (present <= _OWN and _holds(folder / "manifest.yaml", manifest)):
        raise ConfigError(
            f"{folder}: is not empty and holds no plan of this manifest (found {', '.join(sorted(present)[:5])}). "
            "It was left untouched. Choose another folder."
        )


def _holds(path: Path, manifest: Manifest) -> bool:
    try:
        return load_manifest(path) == manifest
    except ConfigError:
        return False


def _identity(manifest: Manifest) -> dict[str, Any]:
    """What makes two manifests give the same samples: all but the counts, and where hand, bank and poses lie, whose
    digests count.
    """
    content = manifest.to_json()
    content["hands"].pop("fix_left")
    if manifest.hands.model != "open":
        content["hands"]["model"] = "file"
    content["pools"]["bank"].pop("path")
    content["pools"]["poses"].pop("path")
    for engine in manifest.streams.counts():
        content["streams"][engine].pop("count")
    return content


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def _hash(manifest: Manifest, content: dict[str, Any]) -> str:
    """Names the plan, and with overrides.json the dataset: manifest without counts and paths (the digests of what lies
    there stand for them), and pools with their licences.
    """
    identity = _identity(manifest)
    identity["pools"]["textures"].pop("path")
    identity["pools"]["backgrounds"].pop("folders")
    identity["renderer"] = content["renderer"]
    pools = {key: content[key] for key in ("schema", "version", "hand", "textures", "poses", "sources")}
    pools["backgrounds"] = BackgroundPool.from_json(content["backgrounds"]).digests()
    pools["bank"] = content["bank"] and content["bank"]["digest"]
    text = json.dumps([identity, pools], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
