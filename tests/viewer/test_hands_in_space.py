"""The page that shows the hands' meshes: what it draws must lie where the image shows it."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from aih_builder import open_dataset
from aih_builder.errors import ConfigError
from aih_builder.hands.model import HandModel
from aih_builder.sample import SIDES, Sample
from aih_builder.viewer.columns import hands_of
from aih_builder.viewer.web.hands3d import hands_page

FLIP = np.array([1.0, -1.0, -1.0])  # from three.js's axes to the camera's


@pytest.fixture(scope="module")
def hands(both_dataset: Path) -> tuple[HandModel, HandModel]:
    return hands_of(both_dataset)


@pytest.fixture(scope="module")
def every(both_dataset: Path) -> list[Sample]:
    return list(open_dataset(both_dataset))


def shown(page: str) -> dict[str, np.ndarray]:
    """What the page draws by name, points (N, 3) in metres in camera axes."""
    (data,) = re.findall(r'base64_data="([A-Za-z0-9+/=]+)"', page)
    scene: Any = trimesh.load(io.BytesIO(base64.b64decode(data)), file_type="glb")
    points = {}
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        vertices = np.asarray(scene.geometry[name].vertices, np.float64)
        points[name] = (vertices @ matrix[:3, :3].T + matrix[:3, 3]) * FLIP
    return points


def projected(points_m: np.ndarray, k_px: np.ndarray) -> np.ndarray:
    pixels = points_m @ k_px.astype(np.float64).T
    return pixels[:, :2] / pixels[:, 2:]


def test_the_meshes_lie_where_the_masks_are(every: list[Sample], hands: tuple[HandModel, HandModel]) -> None:
    compared = 0
    for sample in every:
        if not (sample.hand_present & sample.pose_valid).any():
            continue
        points = shown(hands_page(sample, hands))
        for hand in np.flatnonzero(sample.hand_present & sample.pose_valid):
            vertices_m = points[f"{SIDES[hand]} hand"]
            assert len(vertices_m) == hands[hand].arrays.faces.max() + 1
            pixels = projected(vertices_m, sample.K_px[hand])
            height, width = sample.image_rgb.shape[:2]
            inside = ((pixels > -0.5) & (pixels < [width - 0.5, height - 0.5])).all(axis=1)
            x, y = np.rint(pixels[inside]).astype(int).T
            near = cv2.dilate(sample.amodal_mask[hand].astype(np.uint8), np.ones((3, 3), np.uint8))
            assert near[y, x].mean() > 0.995
            compared += 1
    assert compared >= 12


def test_the_camera_s_frustum_ends_in_the_image_s_corners(
    every: list[Sample], hands: tuple[HandModel, HandModel]
) -> None:
    for sample in every[::3]:
        points = shown(hands_page(sample, hands))
        for hand in np.flatnonzero(sample.hand_present & sample.pose_valid):
            found = points[f"camera of the {SIDES[hand]} hand"]
            assert (np.linalg.norm(found, axis=1) < 1e-9).any()  # the camera itself
            pixels = projected(found[found[:, 2] > 1e-6], sample.K_px[hand])
            height, width = sample.image_rgb.shape[:2]
            corners = {(round(float(x), 1), round(float(y), 1)) for x, y in pixels}
            assert corners == {(x - 0.5, y - 0.5) for x in (0, width) for y in (0, height)}


def test_of_one_hand_only_that_hand_is_shown(every: list[Sample], hands: tuple[HandModel, HandModel]) -> None:
    sample = next(s for s in every if (s.hand_present & s.pose_valid).all())
    for hand, side in enumerate(SIDES):
        alone = replace(sample, pose_valid=np.arange(2) == hand)
        assert set(shown(hands_page(alone, hands))) == {f"{side} hand", f"camera of the {side} hand"}


def test_where_no_pose_is_known_that_is_told(every: list[Sample], hands: tuple[HandModel, HandModel]) -> None:
    for change in ({"pose_valid": np.zeros(2, bool)}, {"hand_present": np.zeros(2, bool)}):
        with pytest.raises(ConfigError, match="the pose of neither hand is known"):
            hands_page(replace(every[0], **change), hands)


def test_hands_whose_camera_is_damaged_are_shown_without_it(
    every: list[Sample], hands: tuple[HandModel, HandModel]
) -> None:
    sample = next(s for s in every if (s.hand_present & s.pose_valid).all())
    page = hands_page(replace(sample, K_px=np.zeros_like(sample.K_px)), hands)
    assert set(shown(page)) == {"right hand", "left hand"}
