"""The bank that planning renders: what its pictures are, against the hands that they show."""

from pathlib import Path

import numpy as np
import pytest

from aih_builder import generate
from aih_builder.geometry import project
from aih_builder.imaging import feathered
from aih_builder.shards.plan import load_plan
from aih_builder.sources.bank import MARGIN, Bank, BankEntry
from aih_builder.sources.skin_people import SHIPPED
from aih_builder.synth.assets import load_hands
from aih_builder.synth.rendered_bank import _for_pictures
from aih_builder.synth.renderers.rasterize import silhouette
from tests.builders import small_both_manifest


@pytest.fixture(scope="module")
def entries(both_dataset: Path) -> list[BankEntry]:
    bank = Bank(both_dataset / "cache/bank.h5")
    assert bank.head.size_px == MARGIN * bank.head.core_px == 384
    return [bank.entry(i) for i in range(len(bank))]


def test_alpha_is_the_hands_coverage_feathered_once(both_dataset: Path, entries: list[BankEntry]) -> None:
    """Against the silhouette of the stored pose: the same mask, and an edge softer than antialiasing alone makes it."""
    plan = load_plan(both_dataset)
    models, surfaces = load_hands(plan.manifest, plan.cache)
    for e in entries:
        posed = models[e.side].pose(e.mano_pose_rad, e.mano_betas, e.mano_trans_m)
        assert np.abs(posed.joints_m - e.cam_joints_m).max() < 1e-6
        K_px = e.K_px.astype(np.float64)
        assert np.abs(project(e.cam_joints_m.astype(np.float64), K_px) - e.joints_px).max() < 1e-3
        surface = surfaces[e.side]
        mesh = silhouette(surface.pose(posed.vertices_m).positions_m, surface.faces, K_px, 384)
        alpha = e.rgba[..., 3]
        assert ((alpha >= 128) & mesh).sum() / ((alpha >= 128) | mesh).sum() > 0.99
        sharp, soft = (np.count_nonzero((a > 0) & (a < 255)) for a in (feathered(mesh.view(np.uint8) * 255), alpha))
        assert 0.9 * sharp < soft < 1.8 * sharp


def test_a_hand_lies_whole_in_the_middle_third(entries: list[BankEntry]) -> None:
    """A crop of factor 2 fills the core, which is 2/3 of the picture."""
    for e in entries:
        rows, columns = np.nonzero(e.rgba[..., 3] >= 128)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(128, abs=4)
        for places in (rows, columns):
            assert (places.min() + places.max()) / 2 == pytest.approx(191.5, abs=3)


def test_tone_and_age_are_those_of_the_skin(entries: list[BankEntry]) -> None:
    for e in entries:
        person = SHIPPED[e.texture_id]
        assert (e.skin_tone, e.skin_age) == (person.tone, person.age)


def test_self_visibility_differs_between_poses_and_hides_some_joints(entries: list[BankEntry]) -> None:
    shares = [e.joint_visible.mean() for e in entries]
    assert 0.1 < np.mean(shares) < 0.95
    assert len(set(shares)) > 3


def test_no_two_pictures_are_alike_and_splits_share_no_source(entries: list[BankEntry]) -> None:
    assert len({e.rgba.tobytes() for e in entries}) == len(entries)
    assert len({e.mano_pose_rad.tobytes() for e in entries}) == len(entries)
    for name in ("shape_id", "texture_id"):
        of_split = [{getattr(e, name) for e in entries if e.split == split} for split in ("train", "val", "test")]
        assert sum(map(len, of_split)) == len(set().union(*of_split))


def test_a_bank_s_pictures_meet_the_camera_but_stay_sharp(tmp_path: Path, entries: list[BankEntry]) -> None:
    """The same cut-outs to the byte of alpha, in other colours; and samples of both engines can be made of them."""
    generate(small_both_manifest(look={"camera": {}}), tmp_path / "it")
    bank = Bank(tmp_path / "it/cache/bank.h5")
    for plain, seen in zip(entries, (bank.entry(i) for i in range(len(bank))), strict=True):
        assert np.array_equal(plain.rgba[..., 3], seen.rgba[..., 3])
        assert not np.array_equal(plain.rgba[..., :3], seen.rgba[..., :3])
    manifest = _for_pictures(small_both_manifest(look={"camera": {}}), 384)
    assert manifest.look.camera is not None
    assert (manifest.look.camera.defocus_px, manifest.look.camera.motion_px) == (None, None)
    assert manifest.look.camera.iso is not None
