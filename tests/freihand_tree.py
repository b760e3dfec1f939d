"""Writes a small training set in FreiHAND's layout, from the open hand's shipped poses, painted with plain OpenCV."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from aih_builder.geometry import random_rotation
from aih_builder.imaging import encode_jpeg
from aih_builder.sources.freihand import VERSIONS
from tests.interhand_capture import HANDS, fits

SIZE, COUNT = 224, 6
SKIN = np.array([200, 150, 120])


class Truth(NamedTuple):
    """What a sample shows."""

    vertices_px: np.ndarray  # (V, 2)
    joints_px: np.ndarray  # (21, 2)
    hand: np.ndarray  # (224, 224) bool


def write_freihand(root: Path) -> list[Truth]:
    """Annotations, masks and the pictures of all versions of COUNT samples; returns what they show."""
    for folder in ("rgb", "mask"):
        (root / "training" / folder).mkdir(parents=True)
    annotations: dict[str, list[Any]] = {"K": [], "xyz": [], "mano": []}
    truths = []
    for number in range(COUNT):
        K, xyz, mano, vertices_m = _sample(number)
        for name, value in (("K", K), ("xyz", xyz), ("mano", [mano])):
            annotations[name].append(np.array(value).tolist())
        vertices, joints = (_projected(np.array(points), K) for points in (vertices_m, xyz))
        hand = np.zeros((SIZE, SIZE), np.uint8)
        for face in HANDS[0].arrays.faces:
            cv2.fillConvexPoly(hand, np.round(vertices[face]).astype(np.int32), 255)
        arm = np.zeros_like(hand)
        far = joints[0] + 3 * (joints[0] - joints[9])
        cv2.line(arm, _whole(joints[0]), _whole(far), 255, 26)
        mask = np.maximum(hand, arm)
        _write_jpeg(root / f"training/mask/{number:08d}.jpg", np.repeat(mask[..., None], 3, axis=2))
        for version in range(len(VERSIONS)):
            rng = np.random.default_rng([number, version, 1])
            coarse = rng.integers(0, 120, (9, 9, 3)).astype(np.uint8)
            image = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
            image[mask > 0] = SKIN
            _write_jpeg(root / f"training/rgb/{number + COUNT * version:08d}.jpg", image)
        truths.append(Truth(vertices, joints, hand > 0))
    for name, content in annotations.items():
        (root / f"training_{name}.json").write_text(json.dumps(content))
    return truths


def _sample(number: int) -> tuple[np.ndarray, np.ndarray, list[float], np.ndarray]:
    """K, joints, MANO's 61 numbers, vertices: a hand 0.7 m before the camera, its forearm across the view."""
    fit = fits(31 * number + 5)["right"]
    pose, betas = np.array(fit["pose"]), np.array(fit["shape"])
    rng = np.random.default_rng([number, 3])
    while True:
        turned, trans = HANDS[0].moved(pose, betas, np.zeros(3), random_rotation(rng), np.zeros(3))
        posed = HANDS[0].pose(turned, betas, trans)
        away = posed.joints_m[0] - posed.joints_m[9]
        if abs(away[2]) < 0.4 * np.linalg.norm(away):
            break
    middle = (posed.vertices_m.min(axis=0) + posed.vertices_m.max(axis=0)) / 2
    trans = trans + np.array([0.0, 0.0, 0.7]) - middle
    posed = HANDS[0].pose(turned, betas, trans)
    focal = 430.0 + 5 * number
    K = np.array([[focal, 0, 111.5], [0, focal + 2, 112.0], [0, 0, 1]])
    root_px = _projected(posed.joints_m[9:10], K)[0]
    return K, posed.joints_m, [*turned, *betas, *root_px, focal / posed.joints_m[9, 2]], posed.vertices_m


def _projected(points_m: np.ndarray, K: np.ndarray) -> np.ndarray:
    flat = points_m @ K.T
    return flat[:, :2] / flat[:, 2:]


def _whole(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    path.write_bytes(encode_jpeg(np.ascontiguousarray(image)))
