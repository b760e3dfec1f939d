from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder import Sample
from aih_builder.config import Affine
from aih_builder.errors import ConfigError, GenerationError
from aih_builder.geometry import project
from aih_builder.identity import SPLITS, SampleName, Split, index_of
from aih_builder.imaging import shrunk
from aih_builder.sample import hdr_masks
from aih_builder.shards.plan import Plan, make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.sources.bank import Bank, BankEntry, write_bank
from aih_builder.synth.assets import load_assets, load_hands
from aih_builder.synth.engine import Engine, Tally
from aih_builder.synth.renderers.rasterize import silhouette
from aih_builder.synth.sync import SyncEngine, draw_affines, move_hand
from tests.bank_pictures import CORE, disc_bank, entry, head
from tests.builders import small_both_content, small_both_manifest, small_manifest

MANY = 60
SIZE_PX = 128


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    manifest = small_both_manifest(image_size_px=SIZE_PX, fields=["depth"])
    return make_plan(manifest, tmp_path_factory.mktemp("plan") / "dataset")


@pytest.fixture(scope="module")
def engine(plan: Plan) -> Engine:
    return engine_for(plan, "sync")


@pytest.fixture(scope="module")
def bank(plan: Plan) -> Bank:
    assert plan.bank_file is not None
    return Bank(plan.bank_file)


@pytest.fixture(scope="module")
def many(engine: Engine) -> list[Sample]:
    return [engine.make(index_of(SampleName("sync", "train", k)), Tally()) for k in range(MANY)]


def mode(sample: Sample) -> str:
    return sample.pose_family.partition("/")[0]


def entries_of(sample: Sample, bank: Bank) -> list[BankEntry]:
    by_id = {bank.entry(i).entry_id: bank.entry(i) for i in range(len(bank))}
    return [by_id[name] for name in sample.pose_id.split("+")]


def test_a_sample_depends_on_its_index_alone(engine: Engine, many: list[Sample]) -> None:
    for k in (17, 3):
        again = engine.make(many[k].index, Tally())
        for field in fields(Sample):
            assert np.array_equal(getattr(again, field.name), getattr(many[k], field.name)), field.name


def test_both_modes_and_both_orders_occur_as_asked(many: list[Sample]) -> None:
    found = Counter((mode(s), s.target_hand) for s in many)
    assert set(found) == {("photo", 0), ("photo", 1), ("canvas", 0), ("canvas", 1)}
    assert 0.4 < sum(n for (m, _), n in found.items() if m == "photo") / MANY < 0.8
    assert min(found.values()) >= 4


def test_the_target_is_hidden_as_asked_and_the_hand_before_it_is_not(many: list[Sample]) -> None:
    rates = np.array([s.occlusion_rate[s.target_hand] for s in many])
    assert rates.min() >= 0.05
    assert rates.max() <= np.float32(0.8)
    assert np.std(rates) > 0.08
    assert not any(s.occlusion_rate[1 - s.target_hand] for s in many)


def test_a_photograph_knows_one_target_and_a_canvas_both(many: list[Sample]) -> None:
    for s in many:
        assert s.target_valid[s.target_hand]
        assert s.target_valid.all() == (mode(s) == "canvas")
        assert s.hand_present.all()
        assert not s.interaction_valid
        assert s.depth is None


def test_a_target_differs_from_the_image_where_the_other_hand_hid_it(many: list[Sample]) -> None:
    seen = 0
    for s in many:
        masks = hdr_masks(s, s.target_hand)
        changed, target = s.changed_mask[s.target_hand], s.target_rgb[s.target_hand]
        assert np.array_equal(s.image_rgb[~changed], target[~changed])
        seen += int(masks.M_D.sum())
        assert (s.image_rgb[masks.M_D] != target[masks.M_D]).any(axis=1).mean() > 0.8
    assert seen > 20_000


def test_stored_parameters_give_the_stored_joints_and_masks(plan: Plan, many: list[Sample]) -> None:
    models, surfaces = load_hands(plan.manifest, plan.cache)
    overlap = []
    for s in many[:30]:
        for hand in (0, 1):
            assert s.pose_valid[hand]
            posed = models[hand].pose(s.mano_pose_rad[hand], s.mano_betas[hand], s.mano_trans_m[hand])
            assert np.abs(posed.joints_m - s.cam_joints_m[hand]).max() < 1e-6
            K_px = s.K_px[hand].astype(float)
            assert np.abs(project(s.cam_joints_m[hand].astype(float), K_px) - s.joints_px[hand]).max() < 1e-4
            mesh = silhouette(surfaces[hand].pose(posed.vertices_m).positions_m, surfaces[hand].faces, K_px, SIZE_PX)
            overlap.append((mesh & s.amodal_mask[hand]).sum() / (mesh | s.amodal_mask[hand]).sum())
    assert min(overlap) >= 0.98
    assert np.mean(overlap) > 0.99


def test_joints_hidden_by_the_hand_itself_or_by_the_other_are_not_visible(many: list[Sample], bank: Bank) -> None:
    seen, hidden = 0, 0
    for s in many:
        for hand, source in enumerate(entries_of(s, bank)):
            assert not (s.joint_visible[hand] & ~source.joint_visible).any()
            seen += int(s.joint_visible[hand].sum())
            hidden += int((source.joint_visible & ~s.joint_visible[hand]).sum())
    assert seen > 500
    assert hidden > 100


def test_val_and_test_keep_their_colours_and_train_does_not(engine: Engine, bank: Bank) -> None:
    """Mean colour of the target's visible part against that of its picture."""
    ratios: dict[Split, list[np.ndarray]] = {split: [] for split in SPLITS}
    for split, found in ratios.items():
        for k in range(16):
            s = engine.make(index_of(SampleName("sync", split, k)), Tally())
            source = entries_of(s, bank)[1 - s.target_hand]  # the hand before: wholly visible
            mask = s.amodal_mask[1 - s.target_hand]
            if mask[[0, -1]].any() or mask[:, [0, -1]].any():  # cut by the frame: another mean
                continue
            now = s.image_rgb[shrunk(mask, 2)].mean(axis=0)
            then = source.rgba[shrunk(source.rgba[..., 3] >= 128, 4)][:, :3].mean(axis=0)
            found.append(now / then)
    assert np.abs(np.log(ratios["train"])).mean() > 0.05
    for split in ("val", "test"):
        assert np.abs(np.log(ratios[split])).mean() < 0.02


def test_splits_share_no_picture(engine: Engine) -> None:
    used = {
        split: {
            name
            for k in range(10)
            for name in engine.make(index_of(SampleName("sync", split, k)), Tally()).pose_id.split("+")
        }
        for split in ("train", "val", "test")
    }
    assert all(name.startswith(split) for split, names in used.items() for name in names)


def test_affines_follow_the_published_form(bank: Bank) -> None:
    """source = centre + core * shift + core * scale / image * turn(image - middle)."""
    affine = Affine(shift=0.15, scale=0.25, rotation_deg=45, occluder_shift_gain=0.2)
    rng = np.random.default_rng([1, 2])
    scales, angles, shifts = ([[], []] for _ in range(3))
    core, middle = bank.head.core_px, (SIZE_PX - 1) / 2
    for _ in range(2000):
        for role, linear_and_offset in enumerate(draw_affines(rng, affine, bank, SIZE_PX, target=0)):
            back = np.linalg.inv(linear_and_offset[:, :2])
            zoom = np.sqrt(np.linalg.det(back))
            assert np.allclose(back @ back.T, zoom**2 * np.eye(2))
            source = back @ (np.full(2, middle) - linear_and_offset[:, 2])
            scales[role].append(zoom * SIZE_PX / core)
            angles[role].append(np.rad2deg(np.arctan2(back[1, 0], back[0, 0])))
            shifts[role].append((source - (bank.head.size_px - 1) / 2) / core)
    for role, reach in ((0, 0.15), (1, 0.03)):
        assert (min(scales[role]), max(scales[role])) == pytest.approx((0.75, 1.25))
        turned = np.abs(angles[role]) > 1e-9
        assert turned.mean() == pytest.approx(0.6, abs=0.04)
        assert np.abs(angles[role]).max() == pytest.approx(90)
        assert np.abs(shifts[role]).max() == pytest.approx(reach, rel=0.02)


def test_joints_pose_and_camera_follow_an_affine_exactly(bank: Bank, plan: Plan) -> None:
    """Also for a camera with two focal lengths and skew, where the rest of the rotation goes into K as skew."""
    models, _ = load_hands(plan.manifest, plan.cache)
    rng = np.random.default_rng([3, 1])
    for number in range(6):
        source = bank.entry(number)
        if number % 2:
            K = source.K_px + np.array([[3, 5, 0], [0, -4, 0], [0, 0, 0]], np.float32)
            K_px = K.astype(np.float64)
            joints_px = project(source.cam_joints_m.astype(np.float64), K_px).astype(np.float32)
            source = replace(source, K_px=K, joints_px=joints_px)
        affine = draw_affines(rng, Affine(), bank, SIZE_PX, 0)[0]
        moved = move_hand(source, affine, models[source.side])
        wanted = source.joints_px.astype(np.float64) @ affine[:, :2].T + affine[:, 2]
        assert np.abs(moved.joints_px - wanted).max() < 2e-4
        posed = models[source.side].pose(moved.pose_rad, source.mano_betas, moved.trans_m)
        assert np.abs(posed.joints_m - moved.joints_m).max() < 1e-6
        assert np.abs(project(posed.joints_m, moved.K_px.astype(np.float64)) - wanted).max() < 1e-2


def test_what_a_picture_does_not_know_stays_unknown(tmp_path: Path) -> None:
    """Photographs with 2D joints alone, and with none: the sample says so, and is checked all the same."""
    some = np.arange(21) % 2 == 0
    blind = {
        "cam_joints_m": np.zeros((21, 3), np.float32), "joint3d_valid": np.zeros(21, bool),
        "K_px": np.zeros((3, 3), np.float32), "joint_visible": np.zeros(21, bool), "joint_visible_valid": False,
        "joint2d_valid": some, "joints_px": entry(0).joints_px * some[:, None], "annotation": "human",
    }  # fmt: skip
    content = small_both_content(image_size_px=CORE)
    content["pools"]["bank"] = {"path": str(disc_bank(tmp_path / "b.h5", 12, **blind))}
    plan = make_plan(small_both_manifest(**content), tmp_path / "dataset")
    for k in range(10):
        s = engine_for(plan, "sync").make(index_of(SampleName("sync", "train", k)), Tally())
        assert np.array_equal(s.joint2d_valid, [some, some])
        for name in ("cam_joints_m", "K_px", "mano_pose_rad", "mano_betas", "mano_trans_m", "joint_visible"):
            assert not getattr(s, name).any(), name
        for flag in (s.joint3d_valid, s.pose_valid, s.joint_visible_valid):
            assert not flag.any()
        assert s.annotation == "human"
        assert s.joints_px[0, 0].any()


def test_a_second_hand_of_the_same_tone_is_sought_as_often_as_asked(tmp_path: Path) -> None:
    path = disc_bank(tmp_path / "b.h5", 48)  # right hands have tones 1 and 3, left ones 2 and 4: none alike
    for tones, share in ((None, 0.0), (5, 1.0)):
        if tones is not None:
            disc_bank(path, 48, skin_tone=tones)
        content = small_both_content(image_size_px=CORE)
        content["pools"]["bank"] = {"path": str(path)}
        content["streams"]["sync"] |= {"same_tone": 1.0}
        plan = make_plan(small_both_manifest(**content), tmp_path / f"dataset-{share}")
        made = [engine_for(plan, "sync").make(index_of(SampleName("sync", "train", k)), Tally()) for k in range(8)]
        assert np.mean([s.skin_tone[0] == s.skin_tone[1] for s in made]) == share


def test_both_hands_are_of_one_annotation_where_that_is_asked(tmp_path: Path) -> None:
    """The bank's right hands are by people twice as often as its left ones, some of which nobody is named for."""
    path = tmp_path / "b.h5"
    kinds = [("human", "human", "machine"), ("human", "machine", "")]
    entries = (entry(n, annotation=kinds[n % 2][n // 2 % 3]) for n in range(36))
    write_bank(path, head(), entries, "raw")
    content = small_both_content(image_size_px=CORE)
    content["pools"]["bank"] = {"path": str(path)}
    content["streams"]["sync"] |= {
        "count": {"train": 40}, "modes": {"photo": 0, "canvas": 1}, "occlusion": {"range": [0, 1]},
        "same_annotation": True,
    }  # fmt: skip
    del content["streams"]["render"]
    engine = engine_for(make_plan(small_both_manifest(**content), tmp_path / "dataset"), "sync")
    tally = Tally()
    found = [engine.make(index_of(SampleName("sync", "train", k)), tally).annotation for k in range(40)]
    assert {*found} == {"human", "machine"}
    assert tally.rejections["no other hand of the same annotation"] > 0
    write_bank(path, head(), (entry(n, annotation=("human", "machine")[n % 2]) for n in range(6)), "raw")
    with pytest.raises(ConfigError, match="no right and left hand that are annotated alike"):
        make_plan(small_both_manifest(**content), tmp_path / "other")


def test_a_licence_too_long_for_a_sample_is_said_at_planning(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    write_bank(path, head(licence="CC-BY-NC-4.0 AND LicenseRef-MANO AND LicenseRef-X"), map(entry, range(6)), "raw")
    content = small_both_content(image_size_px=CORE)
    content["pools"]["bank"] = {"path": str(path)}
    content["streams"]["sync"]["count"] = {"train": 1}
    with pytest.raises(ConfigError, match=r"pools.bank.path: .*too long for a sample \(expected at most 48 bytes\)"):
        make_plan(small_both_manifest(**content), tmp_path / "dataset")


def test_a_hopeless_request_ends_with_what_was_refused_and_why(plan: Plan) -> None:
    assets = load_assets(plan.manifest, plan.cache, plan.backgrounds, plan.bank_file)
    content = small_both_content(image_size_px=SIZE_PX)
    content["streams"]["sync"]["occlusion"] = {"range": [0.999, 1.0]}
    engine = SyncEngine(small_both_manifest(**content), assets)
    with pytest.raises(GenerationError, match=r"none of 5 draws was accepted \(occlusion outside the range 5\).*sync"):
        engine.make(3, Tally(), max_attempts=5)


def test_without_a_bank_or_a_stream_there_is_no_engine(plan: Plan) -> None:
    assets = load_assets(plan.manifest, plan.cache, plan.backgrounds)
    with pytest.raises(ConfigError, match="its plan has no bank"):
        SyncEngine(plan.manifest, assets)
    with pytest.raises(ConfigError, match="the manifest names no such stream"):
        SyncEngine(small_manifest(), load_assets(plan.manifest, plan.cache, plan.backgrounds, plan.bank_file))


def test_a_mirrored_hand_is_refused_and_counted(tmp_path: Path) -> None:
    """Shifted by up to half an image, the mirror beyond the border shows hands; no such sample is made."""
    content = small_both_content(image_size_px=CORE)
    content["pools"]["bank"] = {"path": str(disc_bank(tmp_path / "b.h5", 12))}
    content["streams"]["sync"] |= {
        "modes": {"photo": 1, "canvas": 0}, "occlusion": {"range": [0, 1]},
        "affine": {"shift": 0.5, "scale": 0.6, "rotation_deg": 0, "occluder_shift_gain": 1},
    }  # fmt: skip
    engine = engine_for(make_plan(small_both_manifest(**content), tmp_path / "dataset"), "sync")
    tally = Tally()
    for k in range(30):
        engine.make(index_of(SampleName("sync", "train", k)), tally)
    assert tally.rejections["the hand's mirror image in the frame"] >= 1
