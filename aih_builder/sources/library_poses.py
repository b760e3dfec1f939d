"""LibraryPoses: scenes drawn from a pose library, at will with the fingers moved a little."""

from collections.abc import Sequence

import numpy as np

from aih_builder.errors import ConfigError, Rejected
from aih_builder.geometry import FloatArray
from aih_builder.hands.anatomy import angles_from_pose, pose_from_angles
from aih_builder.hands.conventions import LEFT, RIGHT
from aih_builder.hands.model import HandModel
from aih_builder.identity import Split, shortened
from aih_builder.sample import SPECS
from aih_builder.sources.pair_measure import PairFigures, PairMeasure
from aih_builder.sources.pose_library import PoseLibrary, hands_digest
from aih_builder.sources.poses import PosePair, PoseSource

MOST_JITTERED_MM = 3.0  # depth in the other hand, and of a finger in its own, unless the entry's own is greater
_OTHER_HAND = "+other-hand"
_ID_BYTES = SPECS["pose_id"].max_bytes


class LibraryPoses(PoseSource):
    """Draws an entry of a split, uniformly; pose and shape of both hands are the entry's.

    With jitter_deg, each free angle of the fingers moves by a normal deviation of that many degrees, within its limits,
    and the exact check is made again: Rejected "jitter" where the hands run deeper into one another, or a finger into
    its own hand, than 3 mm or than they did before. Raises ConfigError where the library is of another hand model,
    unless other_hand is "mark": pose ids then end in "+other-hand", and depth and contact are measured anew.
    """

    def __init__(
        self,
        library: PoseLibrary,
        hands: tuple[HandModel, HandModel],
        jitter_deg: float = 0.0,
        other_hand: str = "refuse",
    ) -> None:
        self._library = library
        self._hands = hands
        self._jitter_rad = np.deg2rad(jitter_deg)
        self._mark = ""
        if library.hand != hands_digest(hands):
            if other_hand != "mark":
                raise ConfigError(
                    f"pools.poses: the poses belong to the hand model {library.hand[:12]}, this is "
                    f"{hands_digest(hands)[:12]}; on another hand they touch elsewhere. Build or import them for this "
                    "one, or set other_hand: mark."
                )
            self._mark = _OTHER_HAND
        self._rows: dict[tuple[str, int | None], np.ndarray] = {}
        splits = np.array(library.splits())
        for split in ("train", "val", "test"):
            mine = splits == split
            self._rows[split, None] = np.flatnonzero(mine & library.present.all(axis=1))
            for side in (RIGHT, LEFT):
                self._rows[split, side] = np.flatnonzero(mine & library.present[:, side])
        self._measure = PairMeasure(hands)

    def require(self, splits: Sequence[Split], *, pairs: bool, singles: bool) -> None:
        """Every split must hold a pair, or hands of both sides, where they are asked for. Raises ConfigError."""
        for split in splits:
            for side in ((None,) if pairs else ()) + ((RIGHT, LEFT) if singles else ()):
                if not len(self._rows[split, side]):
                    what = "pair of hands" if side is None else f"{('right', 'left')[side]} hand"
                    raise ConfigError(
                        f"pools.poses: no {what} falls into split '{split}' ({len(self._library)} entries in all). "
                        "Use a larger library, or set that split's count to 0."
                    )

    def draw(self, rng: np.random.Generator, split: Split, single: int | None) -> PosePair:
        """See PoseSource; family is the entry's, or "single/<family>"."""
        library, rows = self._library, self._rows[split, single]
        if not len(rows):
            raise ConfigError(f"pools.poses: no entry falls into split '{split}'. Set that split's count to 0.")
        row = int(rows[int(rng.integers(len(rows)))])
        shown = np.ones(2, bool) if single is None else np.arange(2) == single
        pose_rad = np.where(shown[:, None], library.pose_rad[row], 0).astype(np.float64)
        betas = np.where(shown[:, None], library.betas[row], 0).astype(np.float64)
        trans_m = np.where(shown[:, None], library.trans_m[row], 0).astype(np.float64)
        if self._mark:  # what is stored was measured on another hand
            figures = self._measure.measure(shown, pose_rad, betas, trans_m)
        else:
            depth_mm, fraction = float(library.penetration_mm[row]), float(library.contact_fraction[row])
            right_mm, left_mm = library.self_penetration_mm[row].tolist()
            figures = PairFigures(depth_mm, fraction, (right_mm, left_mm))
        if self._jitter_rad > 0:
            figures = self._jitter(rng, figures, shown, pose_rad, betas, trans_m)
        both = single is None
        return PosePair(
            present=shown,
            shape_id=shortened(f"poses:{library.ids[row]}", _ID_BYTES),
            betas=betas,
            pose_rad=pose_rad,
            trans_m=trans_m,
            family=shortened(f"{'' if both else 'single/'}{library.family[row]}", _ID_BYTES),
            source_id=shortened(str(library.ids[row]), _ID_BYTES - len(self._mark)) + self._mark,
            penetration_mm=figures.penetration_mm if both else 0.0,
            contact_fraction=figures.contact_fraction if both else 0.0,
            interaction_valid=both,
            licence=library.licence,
            annotation="" if library.annotation is None else str(library.annotation[row]),
        )

    def _jitter(
        self,
        rng: np.random.Generator,
        before: PairFigures,
        shown: np.ndarray,
        pose_rad: FloatArray,
        betas: FloatArray,
        trans_m: FloatArray,
    ) -> PairFigures:
        """Move the fingers of pose_rad (2, 48); what is then measured. Raises Rejected."""
        for i, hand in enumerate(self._hands):
            deviation = rng.normal(size=(16, 3))  # drawn for both, so that one hand's does not hang on the other
            if not shown[i]:
                continue
            low, high = hand.arrays.dof_limits_rad[..., 0], hand.arrays.dof_limits_rad[..., 1]
            free = (high > low) * self._jitter_rad * deviation
            angles = angles_from_pose(hand.arrays, pose_rad[i, 3:])
            # An angle that a fit leaves beyond a limit may stay there, not go further.
            moved = np.clip(angles + free, np.minimum(low, angles), np.maximum(high, angles))
            pose_rad[i, 3:] = pose_from_angles(hand.arrays, moved)
        found = self._measure.measure(shown, pose_rad, betas, trans_m)
        pairs = [(found.penetration_mm, before.penetration_mm)]
        pairs += zip(found.self_penetration_mm, before.self_penetration_mm, strict=True)
        if any(now > max(MOST_JITTERED_MM, was) for now, was in pairs):
            raise Rejected("jitter")
        return found
