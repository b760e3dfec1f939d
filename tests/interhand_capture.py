"""Writes a small capture in exactly InterHand2.6M's layout, from the open hand, with all that can be wrong in it.

World coordinates are computed here with plain numpy, apart from the package's reader.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.imaging import encode_jpeg
from aih_builder.sources.pose_library import PoseLibrary, shipped_library

HANDS = hand_pair(open_hand(), "native")
# Thumb tip to base, index, middle, ring, little finger, then the wrist: rows of our keypoints.
IH_ROWS = [4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0]
WIDTH, HEIGHT = 334, 512
PEOPLES = (100, 101, 102)  # frames that people annotated
GOOD_CAMERAS = ("400262", "400263", "410001")  # the last is grey


def turned(axis: int, degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def cameras() -> dict[str, Any]:
    """Three good cameras around (0, 0, 1000) mm, the bad one, and one that is no rotation."""
    rotations = {
        "400262": np.eye(3),
        "400263": turned(1, -35.0) @ turned(2, 8.0),
        "410001": turned(0, 20.0) @ turned(1, 25.0),
        "400412": np.eye(3),
        "400300": 2.0 * np.eye(3),
    }
    middle = np.array([0.0, 0.0, 1000.0])
    return {
        "campos": {n: (middle - r.T @ [0.0, 0.0, 1000.0]).tolist() for n, r in rotations.items()},
        "camrot": {n: r.tolist() for n, r in rotations.items()},
        "focal": {n: [1000.0 + 10 * k, 1010.0 + 10 * k] for k, n in enumerate(rotations)},
        "princpt": {n: [166.5 + k, 255.5 - k] for k, n in enumerate(rotations)},
    }


@cache
def _library() -> PoseLibrary:
    return shipped_library()


def fits(row: int) -> dict[str, Any]:
    """Fits of both hands from a shipped pose, its middle near (0, 0, 1) m."""
    library = _library()
    shift = np.array([0.0, 0.0, 1.0])
    return {
        side: {
            "pose": library.pose_rad[row, i].astype(float).tolist(),
            "shape": library.betas[row, i].astype(float).tolist(),
            "trans": (library.trans_m[row, i].astype(float) + shift).tolist(),
        }
        for i, side in enumerate(("right", "left"))
    }


def posed(fit: dict[str, Any], side: int) -> Any:
    return HANDS[side].pose(np.array(fit["pose"]), np.array(fit["shape"]), np.array(fit["trans"]))


def joints_mm(both: dict[str, Any]) -> list[list[float]]:
    """42 world joints in InterHand2.6M's order."""
    hands = [posed(both[side], i).joints_m for i, side in enumerate(("right", "left"))]
    return [(1000.0 * hand_m[row]).tolist() for hand_m in hands for row in IH_ROWS]


def frames() -> tuple[dict[str, Any], dict[str, Any]]:
    """MANO fits and joints of capture 0's eight frames; frame 115 has no fit, 130 and 135 have broken ones."""
    whole = {str(100 + 5 * k): fits(100 * k + 7) for k in range(8)}
    joints: dict[str, Any] = {
        name: {"world_coord": joints_mm(both), "joint_valid": [[1]] * 42, "hand_type": "interacting"}
        for name, both in whole.items()
    }
    joints["105"] = joints["105"]["world_coord"]  # the bare list of release 0.0
    joints["135"] = {"world_coord": joints["135"]["world_coord"][:40], "joint_valid": [[1]] * 40}
    mano: dict[str, Any] = dict(whole)
    mano["110"] = {"right": whole["110"]["right"], "left": None}
    del mano["115"]
    x, y, z = whole["120"]["left"]["trans"]
    outlier = dict(whole["120"]["left"], trans=[x, y + 0.042, z])
    mano["120"] = {"right": whole["120"]["right"], "left": outlier}
    mano["125"] = {"right": None, "left": None}
    mano["130"] = {"right": dict(whole["130"]["right"], pose=[0.0] * 45), "left": whole["130"]["left"]}
    mano["135"] = {"right": dict(whole["135"]["right"], trans=[float("nan"), 0, 1]), "left": whole["135"]["left"]}
    return mano, joints


def write_capture(root: Path) -> Path:
    """Splits train (capture 0, eight frames) and test (capture 1, one frame); returns root."""
    mano, joints = frames()
    _write(root, "train", 0, mano, joints, "ROM03_RT_No_Occlusion")
    both = fits(1234)
    test_joints = {"world_coord": joints_mm(both), "joint_valid": [[1]] * 21 + [[0]] * 21}
    _write(root, "test", 1, {"200": both}, {"200": test_joints}, "ROM09_Interaction")
    (root / "annotations" / "skeleton.txt").write_text("# name id parent\nthumb4_r 0 1\nwrist_r 20 -1\n")
    (root / "annotations" / "subject.txt").write_text("# subject gender age\n0 m 30\n")
    return root


def write_singles(root: Path) -> Path:
    """Three splits of a subject each: four frames of a right hand, four of a left one, two of both; returns root."""
    for k, split in enumerate(("train", "val", "test")):
        mano: dict[str, Any] = {}
        kinds: dict[str, str] = {}
        joints: dict[str, Any] = {}
        for n in range(10):
            frame, kind = str(100 + n), ("right", "left")[n % 2] if n < 8 else "interacting"
            both = fits((200 * k + 17 * n + 3) % 2000)
            mano[frame] = {side: both[side] if kind in (side, "interacting") else None for side in ("right", "left")}
            kinds[frame] = kind
            joints[frame] = {"world_coord": joints_mm(both), "joint_valid": [[1]] * 42}
        _write(root, split, k, mano, joints, f"ROM0{k}_RT_Single", kinds, subject=10 + k)
    return root


def paint_images(root: Path) -> None:
    """Write the JPEG of every usable image of a capture: hands as flat polygons of their faces before noise, each with
    a forearm. Plain numpy and OpenCV, apart from the package's camera, surface and rasterizer.
    """
    for folder in sorted((root / "annotations").iterdir()):
        if folder.is_dir():
            parts = {
                name: json.loads((folder / f"InterHand2.6M_{folder.name}_{name}.json").read_text())
                for name in ("data", "camera", "MANO_NeuralAnnot")
            }
            for item in parts["data"]["images"]:
                if item["camera"] in GOOD_CAMERAS:
                    path = root / "images" / folder.name / item["file_name"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(encode_jpeg(painted(item, parts["camera"], parts["MANO_NeuralAnnot"])))


def outlines(item: Any, cameras: Any, mano: Any) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Side, vertices (V, 2) and joints (21, 2) in pixels of each fitted hand of an image."""
    camera = cameras[str(item["capture"])]
    name = item["camera"]
    found = []
    fitted = mano[str(item["capture"])].get(str(item["frame_idx"])) or {}
    for side, label in enumerate(("right", "left")):
        if (fit := fitted.get(label)) is None or len(fit["pose"]) != 48:
            continue
        hand = posed(fit, side)
        flat = []
        for points_m in (hand.vertices_m, hand.joints_m):
            cam_mm = (1000.0 * points_m - camera["campos"][name]) @ np.array(camera["camrot"][name]).T
            flat.append(cam_mm[:, :2] / cam_mm[:, 2:] * camera["focal"][name] + camera["princpt"][name])
        found.append((side, flat[0], flat[1]))
    return found


def painted(item: Any, cameras: Any, mano: Any) -> np.ndarray:
    height, width = item["height"], item["width"]
    rng = np.random.default_rng([item["id"], item["capture"], 1])
    coarse = rng.integers(20, 110, (height // 32 + 2, width // 32 + 2, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for side, vertices, joints in outlines(item, cameras, mano):
        if not np.isfinite(vertices).all():
            continue
        away = 3 * (joints[0] - joints[9])
        cv2.line(image, _pixel(joints[0]), _pixel(joints[0] + away), (150, 110, 90), 30)
        for face in HANDS[side].arrays.faces:
            cv2.fillConvexPoly(image, np.round(vertices[face]).astype(np.int32), (220, 170 + side * 10, 140))
    if item["camera"].startswith("41"):
        image[:] = image[..., 1:2]
    return image


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _write(
    root: Path,
    split: str,
    capture: int,
    mano: Any,
    joints: Any,
    sequence: str,
    kinds: dict[str, str] | None = None,
    subject: int = 0,
) -> None:
    """One split of one capture; kinds are the hand types of frames that are not interacting."""
    folder = root / "annotations" / split
    folder.mkdir(parents=True)
    images, annotations = [], []
    for frame in joints:
        for camera in (*GOOD_CAMERAS, "400412", "400300"):
            landscape = (frame, camera) == ("105", "400263")
            images.append(
                {
                    "id": len(images),
                    "file_name": f"Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg",
                    "width": HEIGHT if landscape or camera == "400412" else WIDTH,
                    "height": WIDTH if landscape or camera == "400412" else HEIGHT,
                    "capture": capture,
                    "subject": subject,
                    "seq_name": sequence,
                    "camera": camera,
                    "frame_idx": int(frame),
                }
            )
            annotations.append(
                {
                    "id": 1000 + len(annotations),
                    "image_id": images[-1]["id"],
                    "bbox": [0, 0, 100, 100],
                    "joint_valid": [1] * 42,
                    "hand_type": (kinds or {}).get(frame, "interacting"),
                    "hand_type_valid": 1,
                }
            )
    parts = {
        "data": {"images": images, "annotations": annotations},
        "camera": {str(capture): cameras()},
        "joint_3d": {str(capture): joints},
        "MANO_NeuralAnnot": {str(capture): mano},
    }
    for name, content in parts.items():
        (folder / f"InterHand2.6M_{split}_{name}.json").write_text(json.dumps(content))
    people = [a["id"] for a, i in zip(annotations, images, strict=True) if i["frame_idx"] in PEOPLES]
    (folder / f"aid_human_annot_{split}.txt").write_text("".join(f"{k}\n" for k in people))
