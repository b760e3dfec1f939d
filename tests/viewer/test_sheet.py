from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder import drawing
from aih_builder.errors import ConfigError, ShardError
from aih_builder.hands.conventions import KEYPOINT_PARENTS
from aih_builder.imaging import decode_image
from aih_builder.sample import Sample, mean_luma, occlusion_rates
from aih_builder.viewer import sheet

SIDE = 64
SKIN = np.array([(200, 150, 120), (120, 80, 60)], np.uint8)


def finger_joints(centre: tuple[float, float]) -> np.ndarray:
    """Keypoints (21, 2) of a splayed flat hand about a wrist."""
    joints = np.zeros((21, 2), np.float32)
    joints[0] = centre
    for joint in range(1, 21):
        turn = np.deg2rad(-150 + 28 * ((joint - 1) // 4))
        reach = SIDE * (0.16 + 0.05 * ((joint - 1) % 4))
        joints[joint] = centre + reach * np.array([np.cos(turn), np.sin(turn)])
    return joints


def hand_mask(joints: np.ndarray) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for joint, parent in enumerate(KEYPOINT_PARENTS):
        if parent >= 0:
            ends = [tuple(np.rint(joints[j]).astype(int).tolist()) for j in (parent, joint)]
            cv2.line(mask, ends[0], ends[1], 1, SIDE // 12)
    return mask.astype(bool)


def make_sample(index: int = 7) -> Sample:
    """Two flat hands, the left one in front, over a gradient."""
    joints = np.stack([finger_joints((SIDE * 0.42, SIDE * 0.8)), finger_joints((SIDE * 0.68, SIDE * 0.75))])
    amodal = np.stack([hand_mask(hand) for hand in joints])
    visible = np.stack([amodal[0] & ~amodal[1], amodal[1]])
    background = np.repeat(np.linspace(20, 90, SIDE, dtype=np.uint8)[:, None, None], SIDE, axis=1).repeat(3, axis=2)
    targets = np.stack([np.where(amodal[hand][..., None], SKIN[hand], background) for hand in (0, 1)])
    image = np.where(visible[1][..., None], SKIN[1], targets[0])
    pixels = np.rint(joints).astype(int)
    seen = np.stack([visible[hand][pixels[hand, :, 1], pixels[hand, :, 0]] for hand in (0, 1)])
    return Sample(
        image_rgb=image,
        target_rgb=targets,
        target_valid=np.ones(2, bool),
        changed_mask=(targets != image).any(axis=-1),
        hand_present=np.ones(2, bool),
        amodal_mask=amodal,
        visible_mask=visible,
        occlusion_rate=occlusion_rates(amodal, visible),
        cam_joints_m=np.zeros((2, 21, 3), np.float32),
        joint3d_valid=np.zeros((2, 21), bool),
        joints_px=joints,
        joint2d_valid=np.ones((2, 21), bool),
        joint_visible=seen,
        joint_visible_valid=np.ones(2, bool),
        K_px=np.zeros((2, 3, 3), np.float32),
        mano_pose_rad=np.zeros((2, 48), np.float32),
        mano_betas=np.zeros((2, 10), np.float32),
        mano_trans_m=np.zeros((2, 3), np.float32),
        pose_valid=np.zeros(2, bool),
        penetration_mm=1.25,
        contact_fraction=0.0,
        interaction_valid=True,
        framing="target",
        target_hand=0,
        scene_id=index,
        skin_tone=np.array([4, 9], np.int8),
        pose_family="clasp",
        mean_luma=mean_luma(image),
        index=index,
        seed=1,
        attempt=1,
        engine="render",
        split="train",
        annotation="",
        shape_id="s",
        pose_id="p",
        texture_id="t",
        background_id="studio",
        licence="CC0-1.0",
    )


def magnified(mask: np.ndarray) -> np.ndarray:
    return np.kron(mask, np.ones((4, 4), bool))


def place_of(part: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Where a part lies in a picture, x and y; fails where it does not, to the last bit."""
    _, _, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(picture, part, cv2.TM_SQDIFF))
    np.testing.assert_array_equal(picture[y : y + part.shape[0], x : x + part.shape[1]], part)
    return x, y


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 1), (5, 3)])
def test_every_sample_is_drawn_two_to_a_row_and_none_covers_another(count: int, rows: int) -> None:
    samples = [make_sample(index) for index in range(count)]
    picture = sheet.contact_sheet(samples)
    blocks = [sheet.sample_block(sample) for sample in samples]
    height, width = blocks[0].shape[:2]
    places = [place_of(block, picture) for block in blocks]
    assert len(set(places)) == count
    assert len({y for _, y in places}) == rows
    for x, y in places:
        assert all((abs(x - a) >= width or abs(y - b) >= height) for a, b in places if (a, b) != (x, y))


def test_samples_of_256_px_are_shown_pixel_for_pixel() -> None:
    block = sheet.sample_block(make_sample())
    assert 5 * 256 <= block.shape[1] <= 5 * 256 + 20
    assert 2 * 5 * 256 <= sheet.contact_sheet([make_sample()] * 2).shape[1] < 2 * 5 * 256 + 100


def test_targets_are_shown_untouched_and_an_unknown_one_is_a_grey_hatch() -> None:
    sample = replace(make_sample(), target_valid=np.array([True, False]))
    right, left = sheet.target_tile(sample, 0), sheet.target_tile(sample, 1)
    np.testing.assert_array_equal(right[::4, ::4], sample.target_rgb[0])
    assert (left.max(axis=2) == left.min(axis=2)).all()
    assert {70, 90} <= set(np.unique(left).tolist())


def test_masks_are_coloured_exactly_where_they_are() -> None:
    sample = make_sample()
    grey = replace(sample, image_rgb=np.full_like(sample.image_rgb, 100))
    tile = sheet.masks_tile(grey).astype(int)
    coloured = tile.max(axis=2) - tile.min(axis=2) > 10
    outside = ~magnified(sample.amodal_mask[0] | sample.amodal_mask[1])
    assert not coloured[outside].any()
    for hand, colour in enumerate(drawing.HAND_COLOURS):
        visible = cv2.erode(magnified(sample.visible_mask[hand]).astype(np.uint8), np.ones((3, 3))).astype(bool)
        other_outline = (tile == drawing.HAND_COLOURS[1 - hand]).all(axis=2)
        expected = 0.5 * 60 + 0.5 * np.array(colour)
        assert np.abs(tile[visible & ~other_outline] - expected).max() <= 1


def test_what_is_hidden_is_hatched_in_the_hands_colour_and_only_there() -> None:
    sample = make_sample()
    tile = sheet.masks_tile(sample)
    hidden = magnified(sample.amodal_mask[0] & ~sample.visible_mask[0])
    inside = cv2.erode(hidden.astype(np.uint8), np.ones((3, 3))).astype(bool)
    hatched = (tile == drawing.HAND_COLOURS[0]).all(axis=2)
    assert inside.sum() > 100
    assert 0.2 < hatched[inside].mean() < 0.5
    visible = cv2.erode(magnified(sample.visible_mask[0]).astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert not hatched[visible].any()


def test_visible_joints_are_filled_and_hidden_ones_hollow() -> None:
    sample = make_sample()
    joints = sample.joints_px.copy()
    joints[:, :, 0], joints[:, :, 1] = 10 + 2 * np.arange(21), 10
    joints[0, 4], joints[0, 8] = (20, 30), (40, 30)
    seen = np.zeros((2, 21), bool)
    seen[0, 4] = True
    lone = np.zeros((2, 21), bool)
    lone[0, [4, 8]] = True  # no bone between them
    shown = replace(sample, joints_px=joints, joint2d_valid=lone, joint_visible=seen)
    tile = sheet.joints_tile(shown)
    at = {joint: (int((joints[0, joint, 1] + 0.5) * 4), int((joints[0, joint, 0] + 0.5) * 4)) for joint in (4, 8)}
    assert tuple(tile[at[4]]) == drawing.FINGER_COLOURS["thumb"]
    assert tile[at[8]].max() < 60
    ring = tile[at[8][0] - 5 : at[8][0] + 5, at[8][1] - 5 : at[8][1] + 5].reshape(-1, 3).astype(int)
    assert np.abs(ring - drawing.FINGER_COLOURS["index"]).sum(axis=1).min() < 60


def test_a_joint_of_unknown_place_is_not_drawn() -> None:
    sample = replace(make_sample(), joint2d_valid=np.zeros((2, 21), bool))
    np.testing.assert_array_equal(sheet.joints_tile(sample)[::4, ::4], sample.image_rgb)


def test_joints_far_outside_the_frame_do_not_fail() -> None:
    sample = make_sample()
    tile = sheet.joints_tile(replace(sample, joints_px=sample.joints_px + np.float32(1e9)))
    assert tile.shape == sheet.joints_tile(sample).shape


def test_the_caption_tells_which_sample_it_is_and_what_was_measured() -> None:
    first, second = sheet.caption(make_sample(index=123))
    assert "#123" in first
    assert "render / train" in first
    assert "right" in first
    rate = round(100 * float(make_sample().occlusion_rate[0]))
    assert f"right {rate}%" in second
    assert "4/9" in second
    assert "1.2 mm" in second


def test_a_single_hand_is_named_absent_and_its_skeleton_is_left_out() -> None:
    sample = make_sample()
    amodal, visible = sample.amodal_mask.copy(), sample.amodal_mask.copy()
    amodal[1], visible[1] = False, False
    single = replace(
        sample,
        image_rgb=sample.target_rgb[0],
        amodal_mask=amodal,
        visible_mask=visible,
        hand_present=np.array([True, False]),
        occlusion_rate=np.zeros(2, np.float32),
        interaction_valid=False,
    )
    assert "left absent" in sheet.caption(single)[1]
    assert "penetration none" in sheet.caption(single)[1]
    moved = replace(single, joints_px=single.joints_px + np.array([[[0, 0]], [[9, 0]]], np.float32))
    np.testing.assert_array_equal(sheet.joints_tile(single), sheet.joints_tile(moved))


def test_a_sheet_is_written_as_png_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    sheet.write_sheet([make_sample()], out)
    np.testing.assert_array_equal(decode_image(out.read_bytes()), sheet.contact_sheet([make_sample()]))
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sample"):
        sheet.contact_sheet([])
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        sheet.write_sheet([make_sample()], tmp_path / "sheet.gif")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ShardError, match="cannot be written"):
        sheet.write_sheet([make_sample()], tmp_path / "folder.png")


@given(total=st.integers(0, 5000), wanted=st.integers(0, 400), seed=st.integers(0, 2**32 - 1))
def test_indices_are_spread_evenly_rising_and_repeatable(total: int, wanted: int, seed: int) -> None:
    chosen = sheet.sheet_indices(total, wanted, seed)
    assert len(chosen) == min(total, wanted)
    assert chosen == sheet.sheet_indices(total, wanted, seed)
    for number, index in enumerate(chosen):
        assert number * total // len(chosen) <= index < (number + 1) * total // len(chosen)
