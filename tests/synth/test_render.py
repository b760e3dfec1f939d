import shutil
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from aih_builder import Sample
from aih_builder.config import parse_manifest
from aih_builder.errors import GenerationError
from aih_builder.files import read_json, write_json
from aih_builder.geometry import project
from aih_builder.identity import SampleName, index_of
from aih_builder.paths import render_assets
from aih_builder.sample import hdr_masks
from aih_builder.shards.plan import Plan, make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.sources.textures import INDEX
from aih_builder.synth.assets import load_hands
from aih_builder.synth.engine import Engine, Tally
from tests.builders import small_content, small_manifest

MANY = 60


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    manifest = small_manifest(image_size_px=64, fields=["depth", "normal", "background_rgb"])
    return make_plan(manifest, tmp_path_factory.mktemp("plan") / "dataset")


@pytest.fixture(scope="module")
def engine(plan: Plan) -> Engine:
    return engine_for(plan, "render")


@pytest.fixture(scope="module")
def many(engine: Engine) -> list[Sample]:
    return [engine.make(index_of(SampleName("render", "train", k)), Tally()) for k in range(MANY)]


def test_a_sample_depends_on_its_index_alone(engine: Engine, many: list[Sample]) -> None:
    """Made again, in another order, every array is the same to the last bit."""
    for k in (17, 3):
        again = engine.make(many[k].index, Tally())
        for field in fields(Sample):
            assert np.array_equal(getattr(again, field.name), getattr(many[k], field.name)), field.name


def test_indices_give_different_samples(many: list[Sample]) -> None:
    assert len({s.image_rgb.tobytes() for s in many}) == MANY


def test_the_histogram_of_occlusion_follows_the_manifest(plan: Plan, many: list[Sample]) -> None:
    stream = plan.manifest.streams.render
    assert stream is not None
    wanted = stream.occlusion
    pairs = [s for s in many if s.hand_present.all()]
    rates = np.array([s.occlusion_rate[s.target_hand] for s in pairs])
    found = np.histogram(rates, wanted.bins)[0] / len(rates)
    assert found.sum() == pytest.approx(1.0)  # none outside the bins
    assert np.abs(found - wanted.share).max() < 0.2
    assert ((rates >= 0.05) & (rates <= 0.8)).mean() >= 0.6


def test_both_hands_are_targets_and_each_is_in_front_in_some(many: list[Sample]) -> None:
    assert min(Counter(s.target_hand for s in many).values()) >= MANY // 5
    pairs = [s for s in many if s.hand_present.all()]
    right_hidden = sum(s.occlusion_rate[0] > s.occlusion_rate[1] for s in pairs)
    assert 0.2 < right_hidden / len(pairs) < 0.8


def test_single_hand_samples_have_one_known_target_that_is_the_image(many: list[Sample]) -> None:
    singles = [s for s in many if not s.hand_present.all()]
    assert 1 <= len(singles) <= MANY // 3
    for s in singles:
        assert s.hand_present[s.target_hand]
        assert np.array_equal(s.target_valid, s.hand_present)
        assert np.array_equal(s.target_rgb[s.target_hand], s.image_rgb)
        absent = 1 - s.target_hand
        for name in ("cam_joints_m", "joints_px", "mano_pose_rad", "mano_betas", "mano_trans_m", "K_px", "target_rgb"):
            assert not getattr(s, name)[absent].any(), name
        assert not s.interaction_valid


def test_the_target_frame_holds_the_target_at_half_its_side(many: list[Sample]) -> None:
    """A crop of factor 2 with jitter 0.1: the longer side of the hand's box is 1 / (2 x 0.9 to 1.1) of the image's."""
    for s in many:
        if s.framing != "target":
            continue
        rows, columns = np.nonzero(s.amodal_mask[s.target_hand])
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 64 / 2.2 - 1.5 <= longer <= 64 / 1.8 + 1.5
        assert rows.min() > 0
        assert rows.max() < 63


def test_joints_lie_on_their_own_amodal_mask(many: list[Sample]) -> None:
    """Keypoints lie inside the hand: nearly all in-frame ones fall on the mask or beside it."""
    on, all_ = 0, 0
    for s in many:
        for hand in np.flatnonzero(s.hand_present):
            pixels = np.floor(s.joints_px[hand] + 0.5).astype(int)
            for x, y in pixels[((pixels >= 0) & (pixels < 64)).all(axis=1)]:
                on += s.amodal_mask[hand, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
                all_ += 1
    assert on / all_ > 0.99


def test_joints_hidden_by_the_other_hand_are_not_visible(many: list[Sample]) -> None:
    seen = {True: 0, False: 0}
    for s in many:
        for hand in np.flatnonzero(s.hand_present):
            M_D = hdr_masks(s, int(hand)).M_D
            for joint, (x, y) in enumerate(np.floor(s.joints_px[hand] + 0.5).astype(int)):
                if 1 <= x < 63 and 1 <= y < 63 and M_D[y - 1 : y + 2, x - 1 : x + 2].all():
                    assert not s.joint_visible[hand, joint]
                    seen[False] += 1
            seen[True] += int(s.joint_visible[hand].sum())
    assert seen[True] > 400
    assert seen[False] > 50


def test_depth_at_visible_joints_is_just_in_front_of_them(many: list[Sample]) -> None:
    gaps_mm = []
    for s in many:
        assert s.depth is not None
        for hand, joint in np.argwhere(s.joint_visible):
            x, y = np.floor(s.joints_px[hand, joint] + 0.5).astype(int)
            if s.visible_mask[hand, y, x]:
                gaps_mm.append(1000 * s.cam_joints_m[hand, joint, 2] - 0.05 * s.depth[y, x])
    assert 2 < np.median(gaps_mm) < 15
    assert max(gaps_mm) < 30
    # Before the surface of its pixel lies only a joint at a silhouette, whose pixel shows what is behind the finger.
    assert (np.array(gaps_mm) < -3).mean() < 0.05


def test_optional_images_cover_what_is_seen(many: list[Sample]) -> None:
    for s in many:
        assert s.depth is not None
        assert s.normal is not None
        assert s.background_rgb is not None
        seen = s.visible_mask.any(axis=0)
        assert np.array_equal(s.depth > 0, seen)
        assert np.array_equal(s.normal.any(axis=2), seen)
        untouched = ~s.changed_mask.any(axis=0) & ~seen
        far = untouched & ~np.roll(seen, 1, 0) & ~np.roll(seen, -1, 0) & ~np.roll(seen, 1, 1) & ~np.roll(seen, -1, 1)
        difference = np.abs(s.image_rgb[far].astype(int) - s.background_rgb[far])
        assert (difference > 0).mean() < 0.02  # diagonal neighbours of an edge


def test_stored_parameters_give_the_stored_joints(plan: Plan, many: list[Sample]) -> None:
    models, _ = load_hands(plan.manifest, plan.cache)
    for s in many[:20]:
        for hand in np.flatnonzero(s.pose_valid):
            posed = models[hand].pose(s.mano_pose_rad[hand], s.mano_betas[hand], s.mano_trans_m[hand])
            assert np.abs(posed.joints_m - s.cam_joints_m[hand]).max() < 1e-7
            assert np.abs(project(posed.joints_m, s.K_px[hand].astype(float)) - s.joints_px[hand]).max() < 1e-2


def test_skin_shapes_and_backgrounds_are_disjoint_between_splits(engine: Engine) -> None:
    used: dict[str, dict[str, set]] = {}
    for split in ("train", "val", "test"):
        made = [engine.make(index_of(SampleName("render", split, k)), Tally()) for k in range(8)]
        used[split] = {"texture": {s.texture_id for s in made}, "shape": {s.shape_id for s in made}}
    for what in ("texture", "shape"):
        sets = [used[split][what] for split in used]
        assert sum(map(len, sets)) == len(set().union(*sets))


def test_a_sample_carries_the_strictest_licence_of_its_sources(tmp_path: Path) -> None:
    shutil.copytree(render_assets() / "textures", tmp_path / "skin")
    index = read_json(tmp_path / "skin" / INDEX)
    for item in index["sets"]:
        item["licence"] = "CC-BY-4.0"
    write_json(tmp_path / "skin" / INDEX, index)
    content = small_content(image_size_px=32)
    content["pools"]["textures"] = {"source": "folder", "path": "skin"}
    plan = make_plan(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "dataset")
    assert engine_for(plan, "render").make(0, Tally()).licence == "CC-BY-4.0"


def test_a_hopeless_request_ends_with_what_was_refused_and_why(tmp_path: Path) -> None:
    content = small_content()
    content["streams"]["render"].update(single_hand_fraction=0.0, occlusion={"bins": [0.995, 1.0], "share": [1.0]})
    plan = make_plan(parse_manifest(content, where="hopeless", folder=tmp_path), tmp_path / "dataset")
    with pytest.raises(GenerationError, match=r"none of 5 draws was accepted \(no fitting view"):
        engine_for(plan, "render").make(0, Tally(), max_attempts=5)
