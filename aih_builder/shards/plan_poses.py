"""What planning asks of the poses: a library is read or imported once, checked, and laid into the plan's cache."""

from pathlib import Path

from aih_builder.config import Manifest
from aih_builder.errors import ConfigError
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.backends import hand_pair
from aih_builder.identity import SPLITS
from aih_builder.sources.backends import POSE_LIBRARIES
from aih_builder.sources.library_poses import LibraryPoses
from aih_builder.sources.pose_library import PoseLibrary
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
    if chosen.source != "library" and chosen.fits_of != manifest.hands.model and chosen.other_hand != "mark":
        # Said before a long import, which LibraryPoses would refuse.
        raise ConfigError(
            f"pools.poses: fits of the hand model '{chosen.fits_of}' on '{manifest.hands.model}'. Poses belong to one "
            "hand: on another they touch elsewhere. Set other_hand: mark to use them all the same, marked."
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


def fill_poses(cache: Path, library: PoseLibrary | None) -> None:
    """Lay the library where workers read it."""
    if library is not None:
        library.save(cache / POSES_FILE)
