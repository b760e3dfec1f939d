"""Shading in whole samples: where the other hand's shade falls, and where it does not."""

from dataclasses import replace

import numpy as np
import pytest

from aih_builder.identity import indices_of
from aih_builder.imaging import grown
from aih_builder.invariants import RENDER_REACH_PX, violations
from aih_builder.sample import Sample
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.synth.engine import Tally
from tests.builders import small_manifest

COUNT = 24


def samples(folder, **look) -> list[Sample]:
    manifest = small_manifest(look=look) if look else small_manifest()
    engine = engine_for(make_plan(manifest, folder), "render")
    return [engine.make(index, Tally()) for index in indices_of("render", "train", 0, COUNT)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return samples(tmp_path_factory.mktemp("plain") / "out")


@pytest.fixture(scope="module")
def shaded(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return samples(tmp_path_factory.mktemp("shaded") / "out", shading={"shadows": 1.0})


def test_shading_changes_colours_alone(plain: list[Sample], shaded: list[Sample]) -> None:
    for a, b in zip(plain, shaded, strict=True):
        for name in ("amodal_mask", "visible_mask", "joints_px", "mano_pose_rad", "occlusion_rate"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
    assert any(not np.array_equal(a.target_rgb, b.target_rgb) for a, b in zip(plain, shaded, strict=True))


def test_hands_that_shade_each_other_darken_the_image_against_the_target(shaded: list[Sample]) -> None:
    """On what is seen of a hand, the image is the target or darker; changed_mask holds where."""
    of_shaded = [s for s in shaded if s.hands_shade]
    assert len(of_shaded) > COUNT / 2
    darker = []
    for s in of_shaded:
        for target in np.flatnonzero(s.target_valid):
            core = s.visible_mask[target] & ~grown(s.amodal_mask[1 - target], 2)
            gap = s.target_rgb[target][core].astype(int) - s.image_rgb[core]
            assert gap.min(initial=0) >= 0
            assert s.changed_mask[target][core][(gap > 0).any(axis=1)].all()
            darker.append(gap.max(initial=0))
    assert max(darker) > 25


def test_plain_shading_and_single_hands_cast_nothing(plain: list[Sample], shaded: list[Sample]) -> None:
    assert not any(s.hands_shade for s in plain)
    alone = [s for s in shaded if not s.hand_present.all()]
    assert alone
    assert not any(s.hands_shade or s.changed_mask.any() for s in alone)


def test_a_shade_where_hands_are_said_not_to_shade_each_other_is_found(shaded: list[Sample]) -> None:
    wide = next(
        s for s in shaded if s.hands_shade and (s.changed_mask[0] & ~grown(s.amodal_mask[1], RENDER_REACH_PX)).any()
    )
    assert violations(wide) == []
    found = violations(replace(wide, hands_shade=False))
    assert any("changed_mask reaches over" in text for text in found)


def test_each_switch_does_its_part(tmp_path) -> None:
    neither = samples(tmp_path / "neither", shading={"occlusion": False, "shadows": 0.0})
    occluded = samples(tmp_path / "occluded", shading={"shadows": 0.0})
    shadowed = samples(tmp_path / "shadowed", shading={"occlusion": False, "shadows": 1.0})
    assert not any(s.hands_shade for s in neither)
    for some in (occluded, shadowed):
        assert sum(s.hands_shade for s in some) > COUNT / 3
        assert np.mean([s.mean_luma for s in some]) < np.mean([s.mean_luma for s in neither])
