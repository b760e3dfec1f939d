"""Solves a block of interacting poses: hands are put near one another as a family starts, then drawn into contact.

A block holds ROWS candidates of one family and one mover. What it gives depends on family, block number, seed and
hand models alone: the batch is fixed, and torch runs on one thread.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, Rejected
from aih_builder.geometry import FloatArray
from aih_builder.hands.anatomy import angles_from_pose, pose_from_angles, within_limits
from aih_builder.hands.conventions import FINGERS, LEFT, N_BETAS, N_JOINTS, RIGHT
from aih_builder.hands.model import HandModel
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.arrangements import draw_shapes
from aih_builder.sources.contact import SelfPenetration, close, measure_contact
from aih_builder.sources.handshapes import HandShapeSampler
from aih_builder.sources.interaction.energy import Energy, HandParts
from aih_builder.sources.interaction.families import FAMILIES, SHAPES, Variant
from aih_builder.sources.interaction.pair import PairReader
from aih_builder.sources.interaction.torch_skin import Motions, TorchSkin, rotations_of
from aih_builder.sources.placement import Motion, hand_frame, place
from aih_builder.sources.reach import reachable

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 64
MOST_PENETRATION_MM = 3.0
MOST_SELF_PENETRATION_MM = 3.0
BETA_LIMIT = 2.0

_STARTS = 8  # placements tried for a candidate
_STEPS, _LOOK_UP_EVERY = 140, 7
_ANGLE_STEP, _TURN_STEP, _SHIFT_STEP_M = 0.03, 0.012, 0.0012  # of Adam, in radians and metres, at the start
_ANGLE_SD, _TURN_SD, _SHIFT_SD_M = np.deg2rad(14.0), np.deg2rad(12.0), 0.015  # what a departure from the start costs
_BLOCKS = 2**15  # most blocks of a family and mover


class Candidate(NamedTuple):
    """A start: hands in the body frame."""

    variant: str
    betas: FloatArray  # (10,)
    angles_rad: FloatArray  # (2, 16, 3), right and left
    motions: tuple[Motion, Motion]
    margin_mm: float  # the gap that the hands are to keep


class Solved(NamedTuple):
    """An accepted pair."""

    id: str
    family: str
    pose_rad: FloatArray  # (2, 48) float32
    betas: FloatArray  # (2, 10) float32
    trans_m: FloatArray  # (2, 3) float32
    penetration_mm: float
    contact_fraction: float
    self_penetration_mm: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Block:
    """ROWS candidates: what was solved, and why the others were refused."""

    solved: list[Solved]
    refused: Counter[str]


class Solver:
    """Solves blocks for one pair of hand models. Raises AssetError where torch is not installed."""

    def __init__(self, hands: tuple[HandModel, HandModel]) -> None:
        self.require_torch()
        arrays = (hands[RIGHT].arrays, hands[LEFT].arrays)
        self._hands = hands
        self._samplers = tuple(HandShapeSampler(a) for a in arrays)
        self._frames = (hand_frame(arrays[RIGHT]), hand_frame(arrays[LEFT]))
        self._surfaces = (close(arrays[RIGHT].faces), close(arrays[LEFT].faces))
        self._self_penetration = tuple(SelfPenetration(a) for a in arrays)
        self._parts = (HandParts(arrays[RIGHT]), HandParts(arrays[LEFT]))
        self._reader = PairReader(hands)

    @staticmethod
    def require_torch() -> None:
        """Raises AssetError where torch is not installed."""
        if find_spec("torch") is None:
            raise AssetError("solving poses needs torch: pip install 'aih-builder[hands]'.")

    def solve(self, family: str, block: int, seed: int) -> Block:
        """One block. Even blocks have the right hand as mover, odd ones the left."""
        mover = block % 2
        refused: Counter[str] = Counter()
        rows: list[int] = []
        starts: list[Candidate] = []
        for row in range(ROWS):
            try:
                starts.append(self._start(family, block, row, seed))
                rows.append(row)
            except Rejected as rejected:
                refused[f"start: {rejected.reason}"] += 1
        if not starts:
            return Block([], refused)
        angles_rad, motions = self._settle(family, starts, mover)
        solved = []
        for k, (row, start) in enumerate(zip(rows, starts, strict=True)):
            try:
                moved = (
                    Motion(motions[RIGHT].rotation[k], motions[RIGHT].translation_m[k]),
                    Motion(motions[LEFT].rotation[k], motions[LEFT].translation_m[k]),
                )
                solved.append(
                    self._accept(family, f"{family}-{block:05d}-{row:02d}", start, angles_rad[k], moved, mover)
                )
            except Rejected as rejected:
                refused[rejected.reason] += 1
        return Block(solved, refused)

    def _start(self, family: str, block: int, row: int, seed: int) -> Candidate:
        """A candidate's start. Raises Rejected where none of a few placements can be reached by two arms."""
        number, mover = FAMILIES[family].number, block % 2
        rng = sample_rng(seed, (number * _BLOCKS + block) * ROWS + row, 1, Purpose.LIBRARY)
        variants = FAMILIES[family].variants
        name = list(variants)[row % len(variants)]
        arrangement = variants[name].arrangement
        betas = np.clip(rng.normal(size=N_BETAS), -BETA_LIMIT, BETA_LIMIT)
        margin_mm = rng.uniform(*variants[name].margin_mm)
        for _ in range(_STARTS):
            shapes = draw_shapes(rng, arrangement)
            if mover == LEFT:
                shapes = shapes[::-1]
            angles = np.stack([self._samplers[i].near(rng, SHAPES[shapes[i]]) for i in (RIGHT, LEFT)])
            posed = [
                hand.pose(np.concatenate([np.zeros(3), pose_from_angles(hand.arrays, angles[i])]), betas, np.zeros(3))
                for i, hand in enumerate(self._hands)
            ]
            try:
                motions = place(rng, arrangement, mover, (posed[0], posed[1]), self._frames, self._surfaces)
            except Rejected:
                continue
            return Candidate(name, betas, angles, motions, margin_mm)
        raise Rejected("reach")

    def _settle(self, family: str, starts: list[Candidate], mover: int) -> tuple[FloatArray, tuple[Motion, Motion]]:
        """Minimise the energy of a batch: angles (n, 2, 16, 3) and motions whose arrays have a row per candidate."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._minimise(family, starts, mover)
        finally:
            torch.set_num_threads(threads)

    def _minimise(self, family: str, starts: list[Candidate], mover: int) -> tuple[FloatArray, tuple[Motion, Motion]]:
        import torch

        roles = (mover, 1 - mover)
        variants: list[Variant] = [FAMILIES[family].variants[start.variant] for start in starts]
        stiffness = torch.tensor([variant.stiffness for variant in variants])
        margin_mm = np.array([start.margin_mm for start in starts])
        betas = np.stack([start.betas for start in starts])
        skins = [TorchSkin(self._hands[side].arrays, betas) for side in roles]
        energy = Energy(
            (self._parts[roles[0]], self._parts[roles[1]]), [variant.pulls for variant in variants], margin_mm
        )

        def tensor(values: object) -> Tensor:
            return torch.tensor(np.array(values), dtype=torch.float32)

        begin = [tensor([start.angles_rad[side] for start in starts]) for side in roles]
        turns = [tensor([start.motions[side].rotation for start in starts]) for side in roles]
        shifts = [tensor([start.motions[side].translation_m for start in starts]) for side in roles]
        low = [tensor(self._hands[side].arrays.dof_limits_rad[..., 0]) for side in roles]
        high = [tensor(self._hands[side].arrays.dof_limits_rad[..., 1]) for side in roles]
        angles = [b.clone().requires_grad_() for b in begin]
        turn, shift = torch.zeros(len(starts), 3, requires_grad=True), torch.zeros(len(starts), 3, requires_grad=True)
        with torch.no_grad():
            centre = skins[0].vertices_m(angles[0], Motions(turns[0], shifts[0])).mean(dim=1)

        def motions() -> list[Motions]:
            extra = rotations_of(turn)
            about = (extra @ (shifts[0] - centre)[..., None])[..., 0] + centre + shift
            return [Motions(extra @ turns[0], about), Motions(turns[1], shifts[1])]

        optimiser = torch.optim.Adam(
            [
                {"params": angles, "lr": _ANGLE_STEP},
                {"params": [turn], "lr": _TURN_STEP},
                {"params": [shift], "lr": _SHIFT_STEP_M},
            ],
            betas=(0.8, 0.95),
        )
        rates = [group["lr"] for group in optimiser.param_groups]
        for step in range(_STEPS):
            done = step / _STEPS
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * (1.0 - 0.9 * done)
            moved = motions()
            vertices = (skins[0].vertices_m(angles[0], moved[0]), skins[1].vertices_m(angles[1], moved[1]))
            if step % _LOOK_UP_EVERY == 0:
                energy.look_up((vertices[0].detach().numpy(), vertices[1].detach().numpy()))
            cost = (
                (1.0 - 0.7 * done) * energy.pull(vertices)
                + (0.8 + 1.2 * done * done) * energy.depth(vertices)
                + (0.4 + 0.8 * done * done) * energy.self_depth(vertices)
                + sum(_departure(a, b, stiffness) for a, b in zip(angles, begin, strict=True))
                + 2.0 * (turn / _TURN_SD).square().sum(dim=1)
                + 0.5 * (shift / _SHIFT_SD_M).square().sum(dim=1)
            )
            optimiser.zero_grad()
            cost.sum().backward()
            optimiser.step()
            with torch.no_grad():
                for a, lowest, highest in zip(angles, low, high, strict=True):
                    a.copy_(torch.minimum(torch.maximum(a, lowest), highest))
        with torch.no_grad():
            final = motions()
        order = (roles.index(RIGHT), roles.index(LEFT))
        found = np.stack([angles[k].detach().numpy().astype(np.float64) for k in order], axis=1)
        right, left = (
            Motion(final[k].rotation.numpy().astype(np.float64), final[k].translation_m.numpy().astype(np.float64))
            for k in order
        )
        return found, (right, left)

    def _accept(
        self,
        family: str,
        name: str,
        start: Candidate,
        angles_rad: FloatArray,
        motions: tuple[Motion, Motion],
        mover: int,
    ) -> Solved:
        """The pair as it is stored, measured. Raises Rejected where it is not what it should be."""
        pose_rad, trans_m = np.zeros((2, 3 * N_JOINTS), np.float32), np.zeros((2, 3), np.float32)
        betas = np.stack([start.betas, start.betas]).astype(np.float32)
        for i, hand in enumerate(self._hands):
            fingers = np.concatenate([np.zeros(3), pose_from_angles(hand.arrays, angles_rad[i])])
            rotation, translation_m = motions[i]
            pose_rad[i], trans_m[i] = hand.moved(fingers, betas[i], np.zeros(3), rotation, translation_m)
        pair = self._reader.read(pose_rad, betas, trans_m)
        contact = measure_contact(pair.vertices_m[RIGHT], pair.vertices_m[LEFT], *self._surfaces)
        if contact.penetration_mm > MOST_PENETRATION_MM:
            raise Rejected("penetration")
        within = [self._self_penetration[i].measure_mm(pair.vertices_m[i]) for i in (RIGHT, LEFT)]
        if max(within) > MOST_SELF_PENETRATION_MM:
            raise Rejected("self-penetration")
        for i, hand in enumerate(self._hands):
            if not within_limits(hand.arrays, angles_from_pose(hand.arrays, pose_rad[i, 3:].astype(np.float64)), 1e-4):
                raise Rejected("joint limits")
        if not FAMILIES[family].holds(pair, mover, start.variant):
            raise Rejected("predicate")
        joints_m = np.stack(pair.joints_m)
        clear_m = FAMILIES[family].variants[start.variant].arrangement.forearm_clear_m
        if not reachable(joints_m[:, 0].copy(), np.stack(pair.distal), np.stack(pair.palmar), joints_m, clear_m):
            raise Rejected("reach")
        text = f"{family}/{start.variant}" if start.variant else family
        return Solved(
            name, text, pose_rad, betas, trans_m, contact.penetration_mm, contact.contact_fraction,
            (within[RIGHT], within[LEFT]),
        )  # fmt: skip


def _departure(angles: Tensor, begin: Tensor, stiffness: Tensor) -> Tensor:
    """What it costs to leave the start (n,): each angle, and last joints that do not follow the ones before them."""
    away = ((angles - begin) / _ANGLE_SD).square().sum(dim=(1, 2))
    uneven = 0.0
    for finger in ("index", "middle", "ring", "little"):
        base = FINGERS[finger]
        moved = angles[:, base + 2, 0] - begin[:, base + 2, 0]
        leading = 0.6 * (angles[:, base + 1, 0] - begin[:, base + 1, 0])
        uneven = uneven + ((moved - leading) / np.deg2rad(8.0)).square()
    return stiffness * away + 0.3 * uneven
