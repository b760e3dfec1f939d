"""What planning asks of the poses: a library is read or imported once, checked, and laid into the plan's cache."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

from aih_builder.config import Manifest
from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.backends import hand_pair
from aih_builder.identity import SPLITS
from aih_builder.sample import SPECS
from aih_builder.sources.backends import POSE_LIBRARIES
from aih_builder.sources.library_poses import LibraryPoses
from aih_builder.sources.licences import PUBLIC_DOMAIN, strictest
from aih_builder.sources.pose_library import PoseLibrary, load_library
from aih_builder.synth.assets import POSES_FILE


def read_poses(manifest: Manifest, hand: HandArrays) -> PoseLibrary | None:
    """The pose library that a manifest asks for; None where its poses are drawn as they are needed.

    Raises ConfigError where it is of another hand, or holds nothing for a split that asks for samples; AssetError where
    it is damaged.
    """
    chosen = manifest.pools.poses
    if chosen.source not in POSE_LIBRARIES:
        return None
    if chosen.path is not None and not chosen.path.exists():
        raise ConfigError(f"pools.poses.path: {chosen.path} is not there.")
    in_use = ("open", "hand") if manifest.hands.model == "open" else ("hand",)
    if chosen.source != "library" and chosen.fits_of not in in_use and chosen.other_hand != "mark":
        # Said before a long import, which LibraryPoses would refuse.
        raise ConfigError(
            f"pools.poses: fits of the hand model '{chosen.fits_of}' on '{manifest.hands.model}'. Poses belong to one "
            "hand: on another they touch elsewhere. Set fits_of: hand if it is hands.model that they were fitted with, "
            "or other_hand: mark to use them all the same, marked."
        )
    library = POSE_LIBRARIES[chosen.source](chosen, hand_pair(hand, "native"))
    require_poses(manifest, hand, library)
    return library


def require_poses(manifest: Manifest, hand: HandArrays, library: PoseLibrary) -> None:
    """Every split that asks for samples must find poses. Raises ConfigError."""
    poses = LibraryPoses(library, hand_pair(hand, "native"), other_hand=manifest.pools.poses.other_hand)
    counts, build = manifest.streams.counts(), manifest.pools.bank.build
    for split in SPLITS:
        drawn = "render" in counts and counts["render"].of(split) > 0
        stream = manifest.streams.render
        single = 0.0 if stream is None else stream.single_hand_fraction
        pictured = "sync" in counts and build is not None and build.per_split.of(split) > 0
        poses.require([split], pairs=drawn and single < 1, singles=pictured or (drawn and single > 0))


def require_planned_poses(cache: Path, planned: str | None) -> PoseLibrary | None:
    """The library in a plan's cache, which must still be what it was. Raises AssetError."""
    if planned is None:
        return None
    library = load_library(cache / POSES_FILE)
    if library.digest() != planned:
        raise AssetError(
            f"{cache / POSES_FILE}: is the library {library.digest()[:12]}, planned was {planned[:12]}. "
            "Put the old file back, or generate into a new folder."
        )
    return library


def require_same_poses(manifest: Manifest, hand: HandArrays, planned: str | None) -> None:
    """Poses that now lie elsewhere must be those that were planned. Raises ConfigError."""
    library = read_poses(manifest, hand)
    if library is not None and library.digest() != planned:
        raise ConfigError(
            f"pools.poses.path: {manifest.pools.poses.path} gives the library {library.digest()[:12]}, the dataset was "
            f"planned with {str(planned)[:12]}. Name the old one, or generate into a new folder."
        )


def require_recordable(
    hand: HandArrays, poses: PoseLibrary | None, skins: Iterable[str], backgrounds: Iterable[str]
) -> None:
    """A sample must be able to record the licence of what it is made of. Raises ConfigError."""
    given = strictest(hand.licence or PUBLIC_DOMAIN, PUBLIC_DOMAIN if poses is None else poses.licence)
    for skin, behind in product(sorted({*skins}), sorted({*backgrounds})):
        licence = strictest(skin, behind, given)
        if len(licence.encode()) > SPECS["licence"].max_bytes:
            raise ConfigError(
                f"pools: skin ({skin}), background ({behind}), hand and poses ({given}) together have the licence "
                f"'{licence}', too long for a sample (expected at most {SPECS['licence'].max_bytes} bytes). "
                "Use sources with fewer licences."
            )


def fill_poses(cache: Path, library: PoseLibrary | None) -> None:
    """Lay the library where workers read it."""
    if library is not None:
        library.save(cache / POSES_FILE)
