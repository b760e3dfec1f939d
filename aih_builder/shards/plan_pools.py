"""What planning asks of the pools, and how it comes by the bank."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aih_builder.config import Manifest
from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import HandArrays, open_hand, save_hand_arrays
from aih_builder.hands.bringing import Brought, bring_hand
from aih_builder.identity import SPLITS, Split
from aih_builder.sample import SPECS
from aih_builder.shards.plan_poses import fill_poses, read_poses, require_recordable
from aih_builder.sources.backgrounds import BackgroundPool
from aih_builder.sources.bank import Bank
from aih_builder.sources.licences import MAX_BYTES, PUBLIC_DOMAIN, strictest
from aih_builder.sources.pools import by_split
from aih_builder.sources.pose_library import PoseLibrary
from aih_builder.sources.shapes import ShapePool
from aih_builder.sources.textures import TEXTURE_SOURCES, TextureSource
from aih_builder.synth.assets import BANK_FILE, HAND_FILE, TEXTURES_FOLDER, load_assets
from aih_builder.synth.rendered_bank import build_rendered_bank
from aih_builder.synth.renderers.backends import RENDERERS, resolve

log = logging.getLogger(__name__)

_WORTH_READING_BYTES = 2**29  # of a bank, at each start of a run
_LEAST_ZOOM, _MOST_ZOOM = 0.1, 2.0  # side of an image / side of a picture's core


def hand_of(manifest: Manifest) -> Brought:
    """The hand that a manifest names, and what was found and done when its files were read.

    Raises ConfigError or AssetError where they are wrong.
    """
    chosen = manifest.hands
    if not isinstance(chosen.model, Path):
        return Brought(open_hand(), {})
    try:
        return bring_hand(chosen.model, None if chosen.fix_left == "auto" else chosen.fix_left)
    except ConfigError as error:
        raise ConfigError(f"hands.model: {error}") from error


def require_same_hand(manifest: Manifest, planned: str) -> None:
    """A hand whose file now lies elsewhere must be the one that was planned. Raises ConfigError."""
    found = hand_of(manifest).arrays.digest()
    if found != planned:
        raise ConfigError(
            f"hands.model: {manifest.hands.model} is the hand {found[:12]}, the dataset was planned with "
            f"{planned[:12]}. Name the old one, or generate into a new folder."
        )


def require_pools(
    manifest: Manifest,
    hand: HandArrays,
    textures: TextureSource,
    backgrounds: BackgroundPool,
    poses: PoseLibrary | None,
) -> None:
    """Every split that asks for samples must find something in every pool. Raises ConfigError.

    poses is the library that the manifest names, if it names one.
    """
    counts, build = manifest.streams.counts(), manifest.pools.bank.build
    asked = [*counts.values(), *([build.per_split] if build is not None and "sync" in counts else [])]
    wanted: list[Split] = [split for split in SPLITS if any(count.of(split) for count in asked)]
    sets = by_split([entry.id for entry in textures.entries])
    for split in wanted:
        if not sets[split]:
            raise ConfigError(
                f"pools.textures: no set falls into split '{split}'. Bake more with per_tone, or set its count to 0."
            )
    if poses is None:  # a library has shapes of its own
        shapes = manifest.hands.shapes
        ShapePool(shapes.count, shapes.beta_limit, manifest.seed, splits=wanted)
    backgrounds.require(wanted)
    require_recordable(hand, poses, (entry.licence for entry in textures.entries), backgrounds.licences())
    if build is not None and "sync" in counts:
        require_buildable(manifest, hand, textures, backgrounds, poses)
        for split in _sync_splits(manifest):
            if build.per_split.of(split) < 2:
                raise ConfigError(
                    f"pools.bank.build.per_split: {build.per_split.of(split)} pictures for {split}, where streams.sync "
                    "asks for samples. Expected at least 2, one of each hand."
                )


def require_buildable(
    manifest: Manifest,
    hand: HandArrays,
    textures: TextureSource,
    backgrounds: BackgroundPool,
    poses: PoseLibrary | None,
) -> str:
    """The licence of a bank rendered from these pools. Raises ConfigError where the manifest asks for none, or where
    a sample could not record the licence.
    """
    build = manifest.pools.bank.build
    if build is None:
        raise ConfigError(f"pools.bank: names the file {manifest.pools.bank.path}; there is nothing to render.")
    if not any(build.per_split.of(split) for split in SPLITS):
        raise ConfigError("pools.bank.build.per_split: every count is 0; ask for at least two pictures.")
    licence = strictest(
        hand.licence or PUBLIC_DOMAIN,
        *(entry.licence for entry in textures.entries),
        *backgrounds.licences(),
        *(() if poses is None else (poses.licence,)),
    )
    if len(licence.encode()) > MAX_BYTES:
        raise ConfigError(
            f"pools.bank.build: hand, textures, backgrounds and poses have the licences {licence}, too long for one "
            f"bank (expected at most {MAX_BYTES} bytes). Use fewer sources."
        )
    return licence


def check_bank(manifest: Manifest, hand: HandArrays, backgrounds: BackgroundPool) -> None:
    """Read the bank file that a manifest names, if it names one. Raises ConfigError or AssetError."""
    path = manifest.pools.bank.path
    if path is None or manifest.streams.sync is None:
        return
    if not path.is_file():
        raise ConfigError(f"pools.bank.path: {path} is not a file. Make one with `aih bank build`.")
    bank = Bank(path)
    if bank.head.hand not in ("", hand.digest()):
        raise ConfigError(
            f"pools.bank.path: {path} holds poses of the hand model {bank.head.hand[:12]}, the manifest's is "
            f"{hand.digest()[:12]}. Poses belong to one hand model: build the bank again for this one."
        )
    zoom = manifest.image_size_px / bank.head.core_px
    if not _LEAST_ZOOM <= zoom <= _MOST_ZOOM:
        raise ConfigError(
            f"pools.bank.path: the pictures of {path} are {bank.head.core_px} px where an image has "
            f"{manifest.image_size_px}; expected a factor of {_LEAST_ZOOM} to {_MOST_ZOOM}. Build one of another size."
        )
    require_bank(manifest, bank)
    for behind in ("", *(backgrounds.licences() if manifest.streams.sync.modes.canvas else ())):
        licence = strictest(bank.head.licence, *filter(None, (behind,)))
        if len(licence.encode()) > SPECS["licence"].max_bytes:
            raise ConfigError(
                f"pools.bank.path: {path} and a background have the licence '{licence}', too long for a sample "
                f"(expected at most {SPECS['licence'].max_bytes} bytes). Use sources with fewer licences."
            )
    log.info("checking %d pictures of %s", len(bank), path)
    bank.check()


def require_bank(manifest: Manifest, bank: Bank) -> None:
    """A bank must hold both hands in every split that asks for AIH-Sync samples. Raises ConfigError."""
    sync = manifest.streams.sync
    bank.require(_sync_splits(manifest), same_annotation=sync is not None and sync.same_annotation)


def fill_cache(cache: Path, hand: HandArrays, textures: TextureSource) -> None:
    """Bake what workers read: the hand and the texture sets."""
    save_hand_arrays(hand, cache / HAND_FILE)
    textures.write_to(cache / TEXTURES_FOLDER, hand)


def build_bank(manifest: Manifest, path: Path) -> int:
    """Render the bank of a manifest into a file of its own; returns the number of pictures."""
    chosen = manifest.pools
    backgrounds = BackgroundPool(chosen.backgrounds.procedural, chosen.backgrounds.licensed())
    hand = hand_of(manifest).arrays
    textures = TEXTURE_SOURCES[chosen.textures.source](chosen.textures, manifest.seed, hand)
    poses = read_poses(manifest, hand)
    require_pools(manifest, hand, textures, backgrounds, poses)
    licence = require_buildable(manifest, hand, textures, backgrounds, poses)
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        fill_cache(cache, hand, textures)
        fill_poses(cache, poses)
        assets = load_assets(manifest, cache, backgrounds.to_json())
        return build_rendered_bank(path, manifest, assets, RENDERERS[resolve(manifest.renderer)](0), licence)


def plan_bank(
    manifest: Manifest,
    cache: Path,
    textures: TextureSource,
    backgrounds: BackgroundPool,
    renderer: str,
    hand: HandArrays,
    poses: PoseLibrary | None,
) -> Bank | None:
    """The plan's bank, rendered into the cache where it is to be built.

    None where no stream draws from a bank.
    """
    if manifest.streams.sync is None:
        return None
    path = manifest.pools.bank.path
    if path is None:
        licence = require_buildable(manifest, hand, textures, backgrounds, poses)
        assets = load_assets(manifest, cache, backgrounds.to_json())
        made = build_rendered_bank(cache / BANK_FILE, manifest, assets, RENDERERS[renderer](0), licence)
        log.info("rendered a bank of %d pictures", made)
    return Bank(cache / BANK_FILE if path is None else path)


def bank_record(manifest: Manifest, bank: Bank) -> dict[str, Any]:
    """What a plan keeps of its bank: path (None: in the cache) and digest."""
    path = manifest.pools.bank.path
    return {"path": None if path is None else str(path), "digest": bank.digest}


def require_planned_bank(file: Path, record: dict[str, Any]) -> None:
    """A plan's bank must still be what it was: read whole where it is small, else by the digest it states.

    Raises AssetError.
    """
    try:
        bank = Bank(file)
        if file.stat().st_size <= _WORTH_READING_BYTES:
            bank.check()
        found = bank.digest
    except AssetError as error:
        raise AssetError(
            f"{error} A dataset needs the bank that it was planned with, {record['digest'][:12]}."
        ) from error
    if found != record["digest"]:
        raise AssetError(
            f"{file}: is the bank {found[:12]}, planned was {record['digest'][:12]}. "
            "Put the old file back, or generate into a new folder."
        )


def _sync_splits(manifest: Manifest) -> list[Split]:
    sync = manifest.streams.sync
    return [] if sync is None else [split for split in SPLITS if sync.count.of(split)]
