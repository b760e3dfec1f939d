"""Light on forearms: as on the hand they go on from, and in the other hand's shade."""

import numpy as np
import pytest

from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.forearm import Limb, build_forearm
from aih_builder.hands.surface import build_surface
from aih_builder.identity import indices_of
from aih_builder.imaging import grown
from aih_builder.invariants import RENDER_REACH_PX, violations
from aih_builder.sample import Sample
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.synth.engine import Tally
from aih_builder.synth.occlusion import REACH_M, openness, openness_of, patches, solid
from tests.builders import small_manifest

COUNT = 40
HANDS = hand_pair(open_hand(), "native")


def hand(side: int, seed: int, shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = np.concatenate([rng.normal(size=3), rng.normal(size=45) * 0.3])
    return HANDS[side].pose(pose, rng.normal(size=10), np.array(shift_m)).vertices_m


def test_points_of_a_hand_see_what_its_vertices_see() -> None:
    """Discs and points out of each other's reach are left out, and change nothing."""
    for seed in range(6):
        mine = solid(hand(0, seed), patches(HANDS[0].arrays))
        for shift_m in ((0.0, 0.0, 0.1), (0.0, 0.09, 0.05), (0.5, 0.0, 0.0)):
            other = solid(hand(1, seed + 1, shift_m), patches(HANDS[1].arrays))
            skin_m, normals = mine.points[:3].T + 0.005 * mine.points[3:].T, mine.points[3:].T
            some = skin_m[:, 0] < np.median(skin_m[:, 0])
            for all_of, of_some in zip(
                openness(mine, other), openness_of(skin_m[some], normals[some], mine, other), strict=True
            ):
                assert of_some == pytest.approx(all_of[some], abs=2e-5)
        far_m = skin_m + np.array([2 * REACH_M + 0.4, 0, 0])
        alone, beside = openness_of(far_m, normals, mine, None)
        assert (alone == 1).all()
        assert (beside == 1).all()


def test_at_the_wrist_a_forearm_lies_as_open_as_its_hand() -> None:
    surface = build_surface(HANDS[0].arrays)
    forearm = build_forearm(HANDS[0].arrays, surface)
    for seed in range(5):
        vertices_m = hand(0, seed)
        mine, pose = solid(vertices_m, patches(HANDS[0].arrays)), surface.pose(vertices_m)
        frame = forearm.frame(vertices_m)
        skin = forearm.pose_skin(pose, frame, forearm.section(pose, frame), Limb(0.27, np.zeros(2)))
        of_arm = openness_of(skin.positions_m, skin.normals, mine, None)[0][forearm.skin.first_of]
        of_hand = surface.spread(np.stack(openness(mine, None), axis=1))[forearm.rim_rows, 0]
        first = of_arm[len(forearm.rim_rows) : 2 * len(forearm.rim_rows)]
        assert np.abs(first - of_hand).max() < 0.06


def samples(folder, **look) -> list[Sample]:
    engine = engine_for(make_plan(small_manifest(look={"forearms": {"share": 1.0}} | look), folder), "render")
    return [engine.make(index, Tally()) for index in indices_of("render", "train", 0, COUNT)]


def test_the_other_hands_shade_reaches_over_the_wrist(tmp_path) -> None:
    """In the image alone, never lighter than the target, marked as changed; without shading there is none."""
    darker = 0
    for sample in samples(tmp_path / "shaded", shading={"shadows": 1.0}):
        assert violations(sample) == []
        assert sample.forearm_mask is not None
        for target in np.flatnonzero(sample.target_valid).tolist():
            others = sample.amodal_mask[1 - target] | sample.forearm_mask[1 - target]
            core = sample.forearm_mask[target] & ~grown(others, RENDER_REACH_PX + 1)
            gap = sample.target_rgb[target][core].astype(int) - sample.image_rgb[core]
            assert gap.min(initial=0) >= 0
            assert sample.hands_shade or not gap.any()
            assert sample.changed_mask[target][core][(gap > 0).any(axis=1)].all()
            darker += gap.max(initial=0) > 8
    assert darker >= 3
    assert not any(sample.hands_shade for sample in samples(tmp_path / "plain"))
