"""Pictures of hands that are discs, for banks whose every number is known."""

from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.sources.bank import BankEntry, BankHead, Storage, write_bank

SIZE, CORE = 96, 64
K_PX = np.array([[200, 3, 47], [0, 190, 48], [0, 0, 1]], np.float32)


def disc(radius_px: float, size_px: int = SIZE) -> np.ndarray:
    """Coverage (size, size) u8 of a disc in the middle, its edge two pixels wide."""
    y, x = np.mgrid[:size_px, :size_px] - (size_px - 1) / 2
    return np.clip((radius_px - np.hypot(x, y)) * 64 + 128, 0, 255).astype(np.uint8)


def entry(number: int, **changes: Any) -> BankEntry:
    """A disc of one colour on a ground of another; even numbers are right hands."""
    rng = np.random.default_rng([number, 1])
    alpha = disc(16 + number % 3)[..., None]
    hand, ground = (rng.integers(0, 256, 3) for _ in range(2))
    rgb = (hand * (alpha / 255) + ground * (1 - alpha / 255)).astype(np.uint8)
    joints_m = np.stack([*rng.uniform(-0.05, 0.05, (2, 21)), rng.uniform(0.45, 0.55, 21)], axis=1)
    projected = joints_m @ K_PX.T
    values: dict[str, Any] = {
        "rgba": np.concatenate([rgb, alpha], axis=2), "entry_id": f"disc-{number}", "side": number % 2,
        "split": "train", "source": "test", "annotation": "",
        "joints_px": (projected[:, :2] / projected[:, 2:]).astype(np.float32), "joint2d_valid": np.ones(21, bool),
        "cam_joints_m": joints_m.astype(np.float32), "joint3d_valid": np.ones(21, bool),
        "joint_visible": rng.random(21) < 0.7, "joint_visible_valid": True, "K_px": K_PX,
        "mano_pose_rad": np.zeros(48, np.float32), "mano_betas": np.zeros(10, np.float32),
        "mano_trans_m": np.zeros(3, np.float32), "pose_valid": False, "skin_tone": number % 4 + 1,
        "pose_family": "disc", "shape_id": "", "texture_id": "", "background_id": "",
    }  # fmt: skip
    return BankEntry(**values | changes)


def head(**changes: Any) -> BankHead:
    return BankHead(
        **{"size_px": SIZE, "core_px": CORE, "licence": "CC0-1.0", "hand": "", "provenance": "{}"} | changes
    )


def disc_bank(path: Path, count: int = 8, storage: Storage = "raw", **changes: Any) -> Path:
    """A bank of discs in which each split has both hands; `changes` go to every entry."""
    splits = ("train", "train", "val", "val", "test", "test")
    entries = (entry(n, **{"split": splits[n % 6]} | changes) for n in range(count))
    write_bank(path, head(), entries, storage)
    return path
