"""Forearms in whole scenes: masks and pictures against the parts drawn alone, and what refuses a scene."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder import Sample
from aih_builder.errors import Rejected
from aih_builder.forearm_region import forearm_region
from aih_builder.geometry import project, random_rotation
from aih_builder.hands.forearm import Limb
from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import grown
from aih_builder.invariants import violations
from aih_builder.sample import MIN_HAND_PIXELS, hdr_masks
from aih_builder.shards.plan import Plan, make_plan
from aih_builder.synth.assets import Assets, load_assets
from aih_builder.synth.compose import compose, right_in_front_by_depth
from aih_builder.synth.engine import Tally
from aih_builder.synth.forearms import Arm, Balls, ends_inside, forearm_amiss, with_forearm
from aih_builder.synth.render import Drawn, RenderEngine
from aih_builder.synth.renderers.backends import RENDERERS
from aih_builder.synth.renderers.base import AMODAL_ALPHA, Layer, Renderer, RenderRequest
from aih_builder.synth.renderers.numba_renderer import NumbaRenderer
from tests.builders import small_manifest
from tests.synth.agreement import agreement, worst

MANY = 16
LIKE_HANDS = {"share": 1.0, "sleeve": 0.0}
CLOTHED = {"share": 1.0, "sleeve": 1.0}
Pair = tuple[Layer | None, Layer | None]
Drawing = tuple[Drawn, list[tuple[RenderRequest, Pair]]]


class Watcher(Renderer):
    """Draws with numba and keeps each request with its layers."""

    def __init__(self) -> None:
        self._inner = NumbaRenderer()
        self.drawn: list[tuple[RenderRequest, Pair]] = []

    def render(self, request: RenderRequest) -> Pair:
        """See Renderer.render."""
        self.drawn.append((request, self._inner.render(request)))
        return self.drawn[-1][1]

    def description(self) -> str:
        """See Renderer.description."""
        return "watcher"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    manifest = small_manifest(image_size_px=128, fields=["depth", "normal"], look={"forearms": {"share": 1.0}})
    return make_plan(manifest, tmp_path_factory.mktemp("forearms") / "dataset")


@pytest.fixture(scope="module")
def assets(plan: Plan) -> Assets:
    return load_assets(plan.manifest, plan.cache, plan.backgrounds)


def engine_of(plan: Plan, assets: Assets, renderer: Renderer, **forearms: Any) -> RenderEngine:
    look = plan.manifest.look
    assert look.forearms is not None
    changed = look.model_copy(update={"forearms": look.forearms.model_copy(update=forearms)})
    return RenderEngine(plan.manifest.model_copy(update={"look": changed}), assets, renderer)


def index(number: int) -> int:
    return index_of(SampleName("render", "train", number))


def first_draw(engine: RenderEngine, number: int, watcher: Watcher) -> Drawn:
    """The first accepted draw of an index; the watcher holds what it asked for."""
    attempt = 0
    while True:
        attempt += 1
        watcher.drawn.clear()
        try:
            return engine.draw(index(number), attempt, "train", engine.design(index(number)), Tally())
        except Rejected:
            continue


@pytest.fixture(scope="module")
def many(plan: Plan, assets: Assets) -> list[Sample]:
    engine = engine_of(plan, assets, NumbaRenderer())
    return [engine.make(index(number), Tally()) for number in range(MANY)]


@pytest.fixture(scope="module")
def drawn(plan: Plan, assets: Assets) -> list[Drawing]:
    """Accepted draws, bare and clothed, each with its parts: the hands, then the parts of their forearms."""
    found = []
    for forearms in (LIKE_HANDS, CLOTHED):
        watcher = Watcher()
        engine = engine_of(plan, assets, watcher, **forearms)
        for number in range(6):
            draw = first_draw(engine, number, watcher)
            found.append((draw, list(watcher.drawn)))
    return found


def test_every_invariant_holds_and_forearms_are_seen(many: list[Sample]) -> None:
    for sample in many:
        assert violations(sample) == []
        assert sample.forearm_mask is not None
        assert not (sample.forearm_mask & sample.visible_mask).any()
        assert not (sample.forearm_mask[0] & sample.forearm_mask[1]).any()
        assert not sample.forearm_mask[~sample.hand_present].any()
    assert sum(s.forearm_mask is not None and s.forearm_mask.any() for s in many) > 0.9 * MANY


def test_the_four_masks_partition_the_picture_and_forearms_are_removed(many: list[Sample]) -> None:
    hidden_by_arm = 0
    for sample in many:
        for target in np.flatnonzero(sample.hand_present).tolist():
            masks = hdr_masks(sample, target)
            assert (np.sum(masks, axis=0) == 1).all()
            assert sample.forearm_mask is not None
            other_arm = sample.forearm_mask[1 - target]
            assert not (other_arm & ~(masks.M_D | masks.M_R)).any()
            assert not (other_arm & ~sample.changed_mask[target]).any()
            hidden_by_arm += int((masks.M_D & other_arm).sum())
    assert hidden_by_arm > 50  # a forearm before the other hand hides it


def test_optional_images_cover_hands_and_forearms(many: list[Sample]) -> None:
    for sample in many:
        assert sample.forearm_mask is not None
        seen = (sample.visible_mask | sample.forearm_mask).any(axis=0)
        assert sample.depth is not None
        assert sample.normal is not None
        assert np.array_equal(sample.depth > 0, seen)
        assert np.array_equal(sample.normal.any(axis=2), seen)


def test_forearms_lie_behind_the_wrist_where_alone_they_may_be(drawn: list[Drawing]) -> None:
    """All of each, seen or not; and of a picture no more than about half."""
    shares = []
    for made, _ in drawn:
        for side in np.flatnonzero(made.sample.hand_present).tolist():
            region = forearm_region(made.sample, side)
            assert not (made.arms()[side] & ~region).any()
            shares.append(region.mean())
    assert np.median(shares) < 0.5


def test_a_target_painted_over_where_the_other_hand_is_removed_is_found(drawn: list[Drawing]) -> None:
    """Knowing where the forearms are, in each; else in most."""
    told, found = "does not show the background where the other hand is removed", []
    for made, _ in drawn:
        sample = made.sample
        for target in np.flatnonzero(sample.target_valid).tolist():
            M_R = hdr_masks(sample, target).M_R
            if (M_R & ~grown(sample.amodal_mask[target] | made.arms()[target], 1)).sum() < 2 * MIN_HAND_PIXELS:
                continue
            targets = sample.target_rgb.copy()
            targets[target][M_R] = 255, 0, 255
            painted = replace(sample, target_rgb=targets)
            for arms in (made.arms(), None):
                texts = violations(painted, background_rgb=made.background_rgb, arms=arms)
                found.append(any(told in text for text in texts))
    assert len(found) >= 20
    assert all(found[::2])
    assert np.mean(found[1::2]) > 0.8


def slow_join(hand: Layer, arm: Layer) -> tuple[Layer, np.ndarray]:
    """Both as one layer, and whose each covered pixel is (H, W): 0 none, 1 the hand, 2 its forearm."""
    rgba, depth_m = np.zeros_like(hand.rgba), np.zeros_like(hand.depth_m)
    owner = np.zeros(depth_m.shape, int)
    for y, x in np.argwhere((hand.rgba[..., 3] > 0) | (arm.rgba[..., 3] > 0)):
        pixels = [(float(layer.depth_m[y, x]), layer.rgba[y, x].astype(int)) for layer in (hand, arm)]
        there = [k for k in (0, 1) if pixels[k][1][3] > 0]
        order = sorted(there, key=lambda k: pixels[k][0])  # the hand first where both are as near
        colour = pixels[order[-1]][1]
        if len(order) == 2:
            front = pixels[order[0]][1]
            colour = np.minimum(front + (colour * (255 - front[3]) + 127) // 255, 255)
        rgba[y, x] = colour
        whole = [pixels[k][1][3] >= AMODAL_ALPHA for k in (0, 1)]
        hidden = order[0] == 1 and whole[1]
        owner[y, x] = 1 if whole[0] and not hidden else 2 * (colour[3] >= AMODAL_ALPHA)
        depth_m[y, x] = pixels[owner[y, x] - 1 if owner[y, x] else order[0]][0]
    return Layer(rgba, depth_m), owner


def parts_of(drawings: list[tuple[RenderRequest, Pair]], side: int) -> list[Layer]:
    """A hand's layer, then those of its forearm's parts."""
    return [layers[side] for _, layers in drawings if layers[side] is not None]  # pyright: ignore[reportReturnType]


def test_pictures_and_masks_are_those_of_the_parts_drawn_alone(drawn: list[Drawing]) -> None:
    """Hands, skin and sleeves are joined and composited again, one pixel at a time; every scene has two layers."""
    for made, drawings in drawn:
        layers: list[Layer | None] = [None, None]
        owners = [np.zeros(made.background_rgb.shape[:2], int) for _ in range(2)]
        for side in (0, 1):
            parts = parts_of(drawings, side)
            if not parts:
                continue
            hand, arm = parts[:2]
            for part in parts[2:]:
                arm, _ = slow_join(arm, part)
            joined, owners[side] = slow_join(hand, arm)
            layers[side] = replace(joined, forearm=owners[side] == 2)
        pair = layers[0], layers[1]
        right_first = right_in_front_by_depth(pair)
        in_front = [right_first, ~right_first]
        for side in (0, 1):
            seen = (owners[side] > 0) & (in_front[side] | (owners[1 - side] == 0))
            assert np.array_equal(made.sample.amodal_mask[side], owners[side] == 1)
            assert np.array_equal(made.sample.visible_mask[side], seen & (owners[side] == 1))
            assert made.sample.forearm_mask is not None
            assert np.array_equal(made.sample.forearm_mask[side], seen & (owners[side] == 2))
        again = compose(pair, right_first, made.background_rgb)
        assert np.array_equal(again.image_rgb, made.sample.image_rgb)
        shown = made.sample.target_valid
        assert np.array_equal(again.target_rgb[shown], made.sample.target_rgb[shown])


def test_a_target_shows_the_background_wherever_its_hand_and_forearm_are_not(drawn: list[Drawing]) -> None:
    for made, drawings in drawn:
        for side in np.flatnonzero(made.sample.target_valid).tolist():
            away = np.all([part.rgba[..., 3] == 0 for part in parts_of(drawings, side)], axis=0)
            assert np.array_equal(made.sample.target_rgb[side][away], made.background_rgb[away])


def test_no_gap_shows_between_a_bare_forearm_and_its_hand(drawn: list[Drawing]) -> None:
    """Near the wrist whatever the hand's outline and the forearm's cover together is solid but for its outline."""
    for made, drawings in drawn[:6]:
        for side in np.flatnonzero(made.sample.hand_present).tolist():
            hand, arm = parts_of(drawings, side)
            joined = with_forearm(hand, [arm])
            met = (hand.rgba[..., 3] > 0) & (arm.rgba[..., 3] > 0)
            solid = np.lib.stride_tricks.sliding_window_view(np.pad(joined.rgba[..., 3] > 0, 1), (3, 3)).all(
                axis=(2, 3)
            )
            if (met & solid).any():
                assert joined.rgba[..., 3][met & solid].min() > 200
                assert (joined.rgba[..., 3][met & solid] >= 250).mean() > 0.97


def test_forearms_that_no_sample_draws_move_nothing(plan: Plan, assets: Assets) -> None:
    """No other stream is touched: at share 0 every array is as without the section, and the mask is empty."""
    without = RenderEngine(
        plan.manifest.model_copy(update={"look": type(plan.manifest.look)()}), assets, NumbaRenderer()
    )
    never = engine_of(plan, assets, NumbaRenderer(), share=0.0)
    for number in range(3):
        one, other = (engine.make(index(number), Tally()) for engine in (without, never))
        for field in fields(Sample):
            if field.name != "forearm_mask":
                assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name
        assert one.forearm_mask is None
        assert other.forearm_mask is not None
        assert not other.forearm_mask.any()


def test_a_sample_with_forearms_depends_on_its_index_alone(plan: Plan, assets: Assets, many: list[Sample]) -> None:
    engine = engine_of(plan, assets, NumbaRenderer())
    for number in (5, 2):
        again = engine.make(index(number), Tally())
        for field in fields(Sample):
            assert np.array_equal(getattr(again, field.name), getattr(many[number], field.name)), field.name


@pytest.mark.parametrize("forearms", [LIKE_HANDS, CLOTHED])
def test_forearms_keep_clear_of_the_other_hand(plan: Plan, assets: Assets, forearms: dict[str, float]) -> None:
    """None that is drawn goes deeper than 8 mm, by every pair of balls and vertices; some clothed ones are refused."""
    engine = engine_of(plan, assets, NumbaRenderer(), **forearms)
    maker, refused, kept = engine._forearms, 0, 0
    assert maker is not None
    for number in range(40):
        rng = np.random.default_rng(number)
        pair = assets.poses.draw(rng, "train", None)
        hands = [m.pose(pair.pose_rad[i], pair.betas[i], pair.trans_m[i]) for i, m in enumerate(assets.hands)]
        try:
            arms = maker.draw(rng, "train", (hands[0], hands[1]))
        except Rejected:
            refused += 1
            continue
        kept += 1
        balls = [maker.balls(i, hands[i], arm) for i, arm in enumerate(arms) if arm is not None]
        assert len(balls) == 2
        for side in (0, 1):
            gap = np.linalg.norm(balls[side].centres_m[:, None] - hands[1 - side].vertices_m[None], axis=2)
            assert (balls[side].radii_m[:, None] - gap).max() <= 0.008 + 1e-9
        gap = np.linalg.norm(balls[0].centres_m[:, None] - balls[1].centres_m[None], axis=2)
        assert (balls[0].radii_m[:, None] + balls[1].radii_m[None] - gap).max() <= 0.008 + 1e-9
    assert kept > 15
    assert refused > 0 or forearms is LIKE_HANDS


@given(st.integers(0, 2**32 - 1))
def test_a_forearm_towards_the_camera_or_too_near_is_amiss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    direction, wrist_m = rng.normal(size=3), np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.3, 0.9)])
    direction /= np.linalg.norm(direction)
    axis_m = wrist_m + np.linspace(0, 0.28, 20)[:, None] * direction
    angle = np.arccos(-(direction @ wrist_m) / np.linalg.norm(wrist_m))
    wanted = bool(angle < np.deg2rad(40) or axis_m[:, 2].min() < 0.10)
    assert bool(forearm_amiss(axis_m, np.eye(3), np.zeros(3), np.cos(np.deg2rad(40)))) == wanted


@given(st.integers(0, 2**32 - 1))
def test_an_end_is_inside_as_soon_as_any_of_its_disc_is(seed: int) -> None:
    """Not its centre alone: against the pixels of the disc, moved and projected one by one."""
    rng = np.random.default_rng(seed)
    rotation, shift_m, radius_m = random_rotation(rng), rng.normal(size=3) * 0.1, rng.uniform(0.02, 0.06)
    K_px = np.array([[300.0, 0, 63.5], [0, 300.0, 63.5], [0, 0, 1]])
    end_m = np.array([*rng.uniform(-0.25, 0.25, 2), rng.uniform(0.4, 0.6)])
    turns = np.linspace(0, 2 * np.pi, 400)
    disc_m = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    disc_px = project(end_m + np.concatenate([r * disc_m for r in np.linspace(0, radius_m, 40)]), K_px)
    seen = bool(((disc_px > -0.5) & (disc_px < 127.5)).all(axis=1).any())
    own_m = (np.stack([end_m + 0.1, end_m]) - shift_m) @ rotation  # before it is moved
    found = ends_inside(Balls(own_m, np.array([0.0, radius_m])), rotation, shift_m, K_px, 128)
    corner = np.maximum(np.abs(project(end_m, K_px) - 63.5) - 64, 0)
    assert found if seen else (not found or (corner > 0).all())  # beyond a corner the disc's square counts


def test_a_forearms_last_ball_lies_at_its_end(plan: Plan, assets: Assets) -> None:
    maker = engine_of(plan, assets, NumbaRenderer())._forearms
    assert maker is not None
    pair = assets.poses.draw(np.random.default_rng(0), "train", None)
    hand = assets.hands[0].pose(pair.pose_rad[0], pair.betas[0], pair.trans_m[0])
    for length_m in (0.25, 0.2741, 0.3):
        centres_m = maker.balls(0, hand, Arm(Limb(length_m, np.zeros(2)), None, "")).centres_m
        origin_m = hand.vertices_m[maker._forearms[0].rim_vertices].mean(axis=0)
        assert np.linalg.norm(centres_m[-1] - origin_m) == pytest.approx(length_m, abs=1e-9)


@pytest.mark.gl
def test_both_renderers_draw_the_same_forearms(drawn: list[Drawing]) -> None:
    """Each part alone, with its normals, and the joined layers."""
    opengl, found = RENDERERS["pyrender"](0), []
    for _, drawings in drawn:
        pairs: list[Pair] = [opengl.render(request) for request, _ in drawings]
        for side in (0, 1):
            ours = [layers[side] for _, layers in drawings]
            theirs = [layers[side] for layers in pairs]
            for one, other in zip(ours, theirs, strict=True):
                if one is not None and other is not None and (one.rgba[..., 3] >= AMODAL_ALPHA).sum() > 400:
                    found.append(agreement(one, other))
            joined = [
                with_forearm(parts[0], [part for part in parts[1:] if part is not None])
                for parts in (ours, theirs)
                if parts[0] is not None and len(parts) > 1
            ]
            if joined:
                masks = [layer.forearm for layer in joined]
                assert masks[0] is not None
                assert masks[1] is not None
                if (masks[0] | masks[1]).sum() > 400:
                    assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() >= 0.995
    assert len(found) > 20
    for one in found:
        assert one.mask_iou >= 0.999, worst(found)
        assert one.colour_mean < 1.0, worst(found)
