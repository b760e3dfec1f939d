"""What predicates ask of a posed pair of hands: gaps between regions, shares in contact, angles, crossings."""

from collections.abc import Iterable

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.anatomy import FLEXION, angles_from_pose
from aih_builder.hands.conventions import FINGERS, KEYPOINT_NAMES
from aih_builder.hands.model import HandModel
from aih_builder.sources.interaction.regions import FOUR, regions_of
from aih_builder.sources.mesh_queries import distance_to_faces, face_spheres
from aih_builder.sources.placement import hand_frame

_SECTORS = 12


class PairReader:
    """The regions, faces and frames of two hand models, right and left."""

    def __init__(self, hands: tuple[HandModel, HandModel]) -> None:
        self.hands = hands
        self.regions = tuple(regions_of(hand.arrays) for hand in hands)
        self.frames = tuple(hand_frame(hand.arrays) for hand in hands)
        self._patches: dict[tuple[int, str], np.ndarray] = {}

    def patch(self, side: int, region: str) -> np.ndarray:
        """Faces (F, 3) with a corner in a region."""
        key = (side, region)
        if key not in self._patches:
            faces = self.hands[side].arrays.faces
            self._patches[key] = faces[np.isin(faces, self.regions[side][region]).any(axis=1)]
        return self._patches[key]

    def read(self, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> "Pair":
        """The pair of stored parameters: (2, 48), (2, 10), (2, 3)."""
        return Pair(self, np.asarray(pose_rad), np.asarray(betas), np.asarray(trans_m))


class Pair:
    """One posed pair. Sides are 0 right, 1 left; regions are those of regions.regions_of."""

    def __init__(self, reader: PairReader, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> None:
        self._reader = reader
        posed = [hand.pose(pose_rad[i], betas[i], trans_m[i]) for i, hand in enumerate(reader.hands)]
        self.vertices_m = [hand.vertices_m for hand in posed]
        self.joints_m = [hand.joints_m for hand in posed]
        turns = [rotation_matrix(np.ascontiguousarray(pose_rad[i, :3], np.float64)) for i in range(2)]
        self.distal = [turns[i] @ reader.frames[i].distal for i in range(2)]
        self.palmar = [turns[i] @ reader.frames[i].palmar for i in range(2)]
        self.angles_rad = [angles_from_pose(reader.hands[i].arrays, pose_rad[i, 3:]) for i in range(2)]

    def share(self, side: int, region: str, other_region: str, limit_mm: float) -> float:
        """Share of a region's vertices within `limit_mm` of the other hand's surface in a region."""
        return float((self.distances_mm(side, region, other_region, limit_mm) < limit_mm).mean())

    def gap_mm(self, side: int, region: str, other_region: str, limit_mm: float = 60.0) -> float:
        """Least distance between a region and a region of the other hand, vertices to surface both ways."""
        ways = ((side, region, other_region), (1 - side, other_region, region))
        return min(float(self.distances_mm(*way, limit_mm).min()) for way in ways)

    def between_mm(self, one: tuple[int, str], two: tuple[int, str]) -> float:
        """Distance of two keypoints, each (side, name)."""
        return 1000.0 * float(np.linalg.norm(self.keypoint_m(*one) - self.keypoint_m(*two)))

    def keypoint_m(self, side: int, name: str) -> FloatArray:
        """Position (3,) of a keypoint."""
        return self.joints_m[side][KEYPOINT_NAMES.index(name)]

    def distances_mm(self, side: int, region: str, other_region: str, limit_mm: float) -> FloatArray:
        """Distance of each vertex of a region to the other hand's surface in a region; at most `limit_mm`."""
        reader, other = self._reader, 1 - side
        queries = self.vertices_m[side][reader.regions[side][region]]
        patch = reader.patch(other, other_region)
        return 1000.0 * _distances(queries, self.vertices_m[other], patch, 1e-3 * limit_mm)

    def flexion_deg(self, side: int, finger: str) -> FloatArray:
        """Flexion (3,) of a finger's joints, base to tip."""
        base = FINGERS[finger]
        return np.rad2deg(self.angles_rad[side][base : base + 3, FLEXION])

    def curl_deg(self, side: int, finger: str) -> float:
        """Sum of a finger's flexion."""
        return float(self.flexion_deg(side, finger).sum())

    def between_deg(self, one: FloatArray, two: FloatArray) -> float:
        """Angle of two unit directions."""
        return float(np.rad2deg(np.arccos(np.clip((one * two).sum(), -1.0, 1.0))))

    def fingers_touching(self, side: int, suffix: str, other_region: str, limit_mm: float) -> list[str]:
        """Which of the five fingers come within `limit_mm` of a region of the other hand."""
        return [
            finger
            for finger in FINGERS
            if (self.distances_mm(side, finger + suffix, other_region, limit_mm) < limit_mm).any()
        ]

    def laced(self, side: int) -> dict[str, int]:
        """The four fingers of a hand that pass between two neighbours of the other hand, and between which.

        0 is between index and middle finger, 2 between ring and little finger. A finger is the line through
        its keypoints, what lies between two fingers is spanned by their lines.
        """
        lines = [self._line(1 - side, finger) for finger in FOUR]
        found = {}
        for finger in FOUR:
            line = self._line(side, finger)
            for web in range(3):
                if _line_meets_strip(line, lines[web], lines[web + 1]):
                    found[finger] = web
                    break
        return found

    def _line(self, side: int, finger: str) -> FloatArray:
        return np.stack([self.keypoint_m(side, f"{finger}{k}") for k in (1, 2, 3, 4)])

    def coverage_deg(
        self, side: int, regions: Iterable[str], start_m: FloatArray, end_m: FloatArray, radius_m: float
    ) -> float:
        """How far around the axis from start to end the vertices of a side's regions within `radius_m` reach."""
        axis = (end_m - start_m) / np.linalg.norm(end_m - start_m)
        rows = np.concatenate([self._reader.regions[side][region] for region in regions])
        away = self.vertices_m[side][rows] - start_m
        along = away @ axis
        across = away - along[:, None] * axis
        near = (np.linalg.norm(across, axis=1) < radius_m) & (along > 0) & (along < np.linalg.norm(end_m - start_m))
        helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
        first = np.cross(axis, helper) / np.linalg.norm(np.cross(axis, helper))
        angle = np.arctan2(across[near] @ np.cross(axis, first), across[near] @ first)
        sectors = np.unique(np.floor((angle + np.pi) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS)
        return 360.0 / _SECTORS * len(sectors)


@compiled
def _distances(queries, points, faces, limit):
    spheres = face_spheres(points, faces)
    found = np.empty(queries.shape[0])
    for q in range(queries.shape[0]):
        found[q] = distance_to_faces(queries[q], points, faces, spheres, limit)
    return found


def _line_meets_strip(line: FloatArray, first: FloatArray, second: FloatArray) -> bool:
    """Whether a polyline (4, 3) runs through the strip of triangles between two others."""
    for k in range(3):
        for triangle in ((first[k], first[k + 1], second[k + 1]), (first[k], second[k + 1], second[k])):
            for s in range(3):
                if _segment_meets(line[s], line[s + 1], *triangle):
                    return True
    return False


def _segment_meets(p: FloatArray, q: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> bool:
    """Whether the segment p q runs through the triangle a b c (signed volumes)."""
    before, after = _volume(p, a, b, c), _volume(q, a, b, c)
    if before * after >= 0.0:
        return False
    sides = np.sign([_volume(p, q, a, b), _volume(p, q, b, c), _volume(p, q, c, a)])
    return bool(abs(sides.sum()) == 3)


def _volume(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> float:
    return float(np.dot(np.cross(b - a, c - a), d - a))
