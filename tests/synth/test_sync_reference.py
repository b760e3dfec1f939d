"""AIH-Sync against a slow version of itself: floats, scipy's interpolation, one step after the other."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from aih_builder import Sample
from aih_builder.config import Manifest, parse_manifest
from aih_builder.identity import SampleName, Split, index_of, name_of
from aih_builder.imaging import grown, shrunk
from aih_builder.rng import Purpose, sample_rng
from aih_builder.shards.plan import Plan, make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.sources.bank import Bank, BankEntry
from aih_builder.sources.licences import strictest
from aih_builder.synth.assets import load_assets
from aih_builder.synth.engine import Tally
from aih_builder.synth.sync import draw_affines
from tests.bank_pictures import disc_bank
from tests.builders import small_both_content

SIZE = 256
COUNT = 16


class Redrawn(NamedTuple):
    sample: Sample
    entries: list[BankEntry]
    affines: tuple[np.ndarray, np.ndarray]
    gain: np.ndarray
    background_rgb: np.ndarray
    background_id: str
    background_licence: str

    @property
    def mode(self) -> str:
        return self.sample.pose_family.partition("/")[0]

    def looked_up(self, hand: int, border: str = "mirror") -> np.ndarray:
        """The hand's picture (SIZE, SIZE, 4), moved, bilinear, in floats."""
        affine = self.affines[hand]
        back = np.linalg.inv(affine[:, :2])
        y, x = np.mgrid[:SIZE, :SIZE]
        points = np.stack([x, y], axis=-1) - affine[:, 2]
        u, v = (points @ back.T).transpose(2, 0, 1)
        rgba = self.entries[hand].rgba.astype(float)
        return np.stack([map_coordinates(rgba[..., c], [v, u], order=1, mode=border) for c in range(4)], axis=-1)


def redrawn(plan: Plan, split: Split, number: int) -> Redrawn:
    """A sample, and all that it is made of, from its streams."""
    index = index_of(SampleName("sync", split, number))
    sample = engine_for(plan, "sync").make(index, Tally())
    assets = load_assets(plan.manifest, plan.cache, plan.backgrounds, plan.bank_file)
    bank, stream = assets.bank, plan.manifest.streams.sync
    assert bank is not None
    assert stream is not None

    def rng(purpose: Purpose) -> np.random.Generator:
        return sample_rng(plan.manifest.seed, index, sample.attempt, purpose)

    by_id = {bank.entry(i).entry_id: bank.entry(i) for i in range(len(bank))}
    gain = rng(Purpose.COLOUR).uniform(0.8, 1.2, size=3) if split == "train" else np.ones(3)
    background = assets.backgrounds.draw(rng(Purpose.BACKGROUND), split, SIZE)
    return Redrawn(
        sample,
        [by_id[name] for name in sample.pose_id.split("+")],
        draw_affines(rng(Purpose.AFFINE), stream.affine, bank, SIZE, sample.target_hand),
        gain,
        background.rgb,
        background.source_id,
        background.licence,
    )


def manifest(folder: Path, **sync: object) -> Manifest:
    content = small_both_content(image_size_px=SIZE)
    content["streams"]["sync"] |= sync
    return parse_manifest(content, where="it", folder=folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Redrawn]:
    folder = tmp_path_factory.mktemp("reference")
    plan = make_plan(manifest(folder), folder / "dataset")
    splits: tuple[Split, ...] = ("train", "train", "val", "test")
    return [redrawn(plan, splits[k % 4], k) for k in range(COUNT)]


def far(found: np.ndarray, wanted: np.ndarray, mask: np.ndarray) -> float:
    assert mask.sum() > 30
    return float(np.abs(found[mask].astype(float) - np.clip(wanted, 0, 255)[mask]).mean())


def test_a_photo_target_is_the_photograph_moved_and_coloured(made: list[Redrawn]) -> None:
    photos = [m for m in made if m.mode == "photo"]
    assert len(photos) >= 4
    for m in photos:
        hand = m.sample.target_hand
        wanted = m.looked_up(hand)[..., :3] * m.gain
        assert far(m.sample.target_rgb[hand], wanted, np.ones((SIZE, SIZE), bool)) < 1
        outside = ~grown(m.sample.amodal_mask[1 - hand], 3)
        assert far(m.sample.image_rgb, wanted, outside) < 1


def test_a_canvas_is_the_background_coloured_with_both_hands_on_it(made: list[Redrawn]) -> None:
    canvases = [m for m in made if m.mode == "canvas"]
    assert len(canvases) >= 3
    for m in canvases:
        outside = ~grown(np.logical_or(*m.sample.amodal_mask), 3)
        assert far(m.sample.image_rgb, m.background_rgb * m.gain, outside) < 1
        for hand in (0, 1):
            core = shrunk(m.sample.amodal_mask[hand], 4)
            assert far(m.sample.target_rgb[hand], m.looked_up(hand)[..., :3] * m.gain, core) < 2
            away = ~grown(m.sample.amodal_mask[hand], 3)
            assert far(m.sample.target_rgb[hand], m.background_rgb * m.gain, away) < 1


def test_masks_are_the_alphas_at_one_half_and_the_hand_before_is_seen_whole(made: list[Redrawn]) -> None:
    for m in made:
        before = 1 - m.sample.target_hand
        for hand in (0, 1):
            alpha = m.looked_up(hand, "constant")[..., 3]
            wrong = m.sample.amodal_mask[hand] != (alpha >= 127.5)
            assert wrong.sum() <= 0.005 * m.sample.amodal_mask[hand].sum()
        core = shrunk(m.sample.visible_mask[before], 4)
        assert far(m.sample.image_rgb, m.looked_up(before)[..., :3] * m.gain, core) < 2


def test_the_record_names_its_sources(made: list[Redrawn]) -> None:
    for m in made:
        s, (right, left) = m.sample, m.entries
        assert (right.side, left.side) == (0, 1)
        assert {right.split, left.split} == {s.split} == {name_of(s.index).split}
        assert s.skin_tone.tolist() == [right.skin_tone, left.skin_tone]
        assert s.skin_age.tolist() == [right.skin_age, left.skin_age]
        assert s.pose_family == f"{m.mode}/{right.pose_family}-{left.pose_family}"
        assert s.shape_id == s.texture_id == s.pose_id
        assert s.annotation == ""
        assert (s.framing, s.scene_id) == ("target", s.index)
        of_target = m.entries[s.target_hand].entry_id
        assert s.background_id == (of_target if m.mode == "photo" else m.background_id)


def test_a_bank_of_jpegs_serves_as_well_and_carries_licence_and_annotation(tmp_path: Path) -> None:
    disc_bank(tmp_path / "b.h5", 12, "jpeg", annotation="human")
    content = small_both_content(image_size_px=64)
    content["pools"]["bank"] = {"path": "b.h5"}
    plan = make_plan(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "it")
    assert plan.bank_file is not None
    assert Bank(plan.bank_file).storage == "jpeg"
    for k in range(6):
        sample = engine_for(plan, "sync").make(16 * k + 3, Tally())
        assert sample.annotation == "human"
        assert sample.licence == "CC0-1.0"


@pytest.mark.parametrize("border", ["reflect", "black"])
def test_what_lies_beyond_a_photograph_is_what_the_manifest_says(tmp_path: Path, border: str) -> None:
    sync = {"border": border, "modes": {"photo": 1, "canvas": 0}, "affine": {"shift": 0.5, "scale": 0.6}}
    plan = make_plan(manifest(tmp_path, **sync), tmp_path / "it")
    beyond = 0
    for k in range(6):
        m = redrawn(plan, "train", k)
        hand = m.sample.target_hand
        wanted = m.looked_up(hand, "mirror" if border == "reflect" else "constant")[..., :3] * m.gain
        assert far(m.sample.target_rgb[hand], wanted, np.ones((SIZE, SIZE), bool)) < 1.5
        beyond += int((m.looked_up(hand, "constant")[..., :3] == 0).all(axis=2).sum())
    assert beyond > 500


def test_licences_of_bank_and_background_are_joined_once() -> None:
    assert strictest("CC-BY-4.0 AND user", "user", "CC0-1.0") == "CC-BY-4.0 AND user"
    assert strictest("CC0-1.0", "CC0-1.0") == "CC0-1.0"
