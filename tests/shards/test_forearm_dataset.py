"""A dataset with forearms: written, validated, made again and read as any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder import generate, open_dataset, validate
from aih_builder.files import read_json
from aih_builder.imaging import decode_png
from aih_builder.interop.hasm_tree import export_hasm
from aih_builder.interop.official_aih import select, write_pieces
from aih_builder.interop.official_tree import LEFT_LABEL, RIGHT_LABEL
from aih_builder.invariants import violations
from aih_builder.sample import SIDES, hdr_masks
from aih_builder.shards.listing import LISTING_FILE
from aih_builder.shards.plan import load_plan
from aih_builder.shards.remake import differences
from aih_builder.shards.validate import MAX_UNSEEN, _against_mesh
from aih_builder.synth.assets import load_hands
from tests.builders import small_both_manifest, small_manifest


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("armed") / "dataset"
    generate(small_both_manifest(look={"forearms": {"share": 1.0}}, fields=["depth"]), folder)
    return folder


def test_it_is_valid_and_every_sample_can_be_made_again(armed: Path) -> None:
    assert validate(armed).problems == []
    plan = load_plan(armed)
    for shard in plan.shards():
        if shard.engine == "render":
            assert [differences(plan, shard, index) for index in shard.indices] == [[]] * len(shard.indices)


def test_an_amodal_mask_that_lacks_what_the_other_hand_hides_is_found(armed: Path) -> None:
    """The own forearm may be hidden there as well, but near the wrist alone, and not much of it."""
    plan, tried = load_plan(armed), 0
    hands = load_hands(plan.manifest, plan.cache)
    for sample in open_dataset(armed, engine="render"):
        assert list(_against_mesh(sample, hands)) == []
        unknowing = replace(sample, amodal_mask=sample.visible_mask.copy(), occlusion_rate=np.zeros(2, np.float32))
        found = list(_against_mesh(unknowing, hands))
        for side in np.flatnonzero(sample.occlusion_rate >= MAX_UNSEEN + 0.05).tolist():
            assert any(text.startswith(f"{SIDES[side]} hand: amodal mask and projected mesh") for text in found)
            tried += 1
    assert tried >= 3


def test_rendered_samples_hold_their_forearms_and_pasted_ones_none(armed: Path) -> None:
    assert read_json(armed / LISTING_FILE)["fields"] == ["depth", "forearm_mask"]
    seen = 0
    for sample in open_dataset(armed):
        assert violations(sample) == []
        if sample.engine == "sync":
            assert sample.forearm_mask is None  # its hands are rendered without
        else:
            assert sample.forearm_mask is not None
            seen += bool(sample.forearm_mask.any())
    assert seen >= 7


def test_forearms_and_hands_share_no_pixel(armed: Path) -> None:
    for sample in open_dataset(armed, engine="render"):
        assert sample.forearm_mask is not None
        assert not (sample.forearm_mask & sample.amodal_mask).any()
        assert not (sample.forearm_mask.any(axis=0) & sample.visible_mask.any(axis=0)).any()


def test_every_sample_goes_into_the_tree_of_masks(armed: Path, tmp_path: Path) -> None:
    assert sum(export_hasm(armed, tmp_path / "hasm").written.values()) == 18


def test_in_the_official_tree_the_other_hand_holds_its_forearm_so_that_its_reader_removes_both(
    tmp_path: Path,
) -> None:
    generate(small_manifest(look={"forearms": {"share": 1.0}}, image_size_px=256), tmp_path / "dataset")
    dataset = open_dataset(tmp_path / "dataset")
    pieces, _ = select(dataset, 0.5)
    rendered = [piece for piece in pieces if piece.engine == "render"]
    assert rendered
    for piece in rendered:
        for kind in ("IH", "DR_gt"):
            piece.group.render_image(tmp_path, piece.target, kind).mkdir(parents=True, exist_ok=True)
        for kind in ("amodal", "rl_visible"):
            piece.group.render_mask(tmp_path, piece.target, kind).mkdir(parents=True, exist_ok=True)
    write_pieces(dataset, tmp_path, rendered)
    with_arm = 0
    for piece in rendered:
        sample, target = dataset[piece.place], piece.target
        kept = piece.group.render_mask(tmp_path, target, "rl_visible") / f"{piece.number}.png"
        labels = decode_png(kept.read_bytes())
        own, other = ((labels == (RIGHT_LABEL, LEFT_LABEL)[side]) for side in (target, 1 - target))
        masks = hdr_masks(sample, target)
        assert np.array_equal(own, masks.M_rv)
        assert np.array_equal(other & ~sample.amodal_mask[target], masks.M_R)
        with_arm += bool((other & ~sample.visible_mask[1 - target]).any())
    assert with_arm
