"""What hands do to the light that falls on them and their forearms: ambient occlusion and the key's shadows."""

from typing import NamedTuple

import numpy as np

from aih_builder.config.look import Shading
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.surface import HandSurface, SurfacePose
from aih_builder.sources.lights import Lights
from aih_builder.synth.occlusion import Patches, Solid, openness, openness_of, patches, solid
from aih_builder.synth.shadows import LightView, ShadowMaps, light_view


class _Key(NamedTuple):
    """The key light of a scene, where it casts shadows. Its maps are drawn."""

    view: LightView
    edge_m: float
    drawn: tuple[bool, bool]  # whether there is a right hand, and a left one


class HandShading:
    """Measures how open the skin of both hands lies to the surroundings and to the key light."""

    def __init__(self, arrays: tuple[HandArrays, HandArrays], surfaces: tuple[HandSurface, HandSurface]) -> None:
        self._arrays, self._surfaces = arrays, surfaces
        self._patches: tuple[Patches, Patches] = (patches(arrays[0]), patches(arrays[1]))
        self._maps = ShadowMaps()
        # Of the scene that shades() saw last.
        self._solids: tuple[Solid | None, Solid | None] = (None, None)
        self._key: _Key | None = None

    def shades(
        self,
        rng: np.random.Generator,
        look: Shading,
        lights: Lights,
        vertices_m: list[FloatArray | None],
        posed: list[SurfacePose | None],
    ) -> tuple[FloatArray | None, FloatArray | None]:
        """HandDraw.openness (R, 4), right and left; None for a hand that is not there.

        Hands are given by their model's vertices (V, 3) and drawn surfaces, camera frame. The stream says whether the
        key casts shadows, and how soft they are.
        """
        casts, edge_m = rng.random() < look.shadows, rng.uniform(*look.shadow_edge_m)
        right, left = vertices_m
        self._solids, self._key = (None, None), None
        if look.occlusion:
            self._solids = self._solid(0, right), self._solid(1, left)
        if casts:
            self._key = self._shadows(lights.directions[0], edge_m, vertices_m)
        return self._of_hand(0, posed[0]), self._of_hand(1, posed[1])

    def of_points(self, side: int, positions_m: FloatArray, normals: FloatArray) -> FloatArray:
        """Openness (N, 4) of points (N, 3) of a hand's forearm, in the scene that shades() saw last.

        Both hands shade it; it shades neither.
        """
        shade = np.ones((len(positions_m), 4))
        if (own := self._solids[side]) is not None:
            shade[:, 0], shade[:, 2] = openness_of(positions_m, normals, own, self._solids[1 - side])
        self._shadow(side, positions_m, normals, shade)
        return shade

    def _of_hand(self, side: int, pose: SurfacePose | None) -> FloatArray | None:
        if pose is None:
            return None
        shade = np.ones((len(pose.positions_m), 4))
        if (own := self._solids[side]) is not None:
            pair = np.stack(openness(own, self._solids[1 - side]), axis=1)
            shade[:, [0, 2]] = self._surfaces[side].spread(pair)
        self._shadow(side, pose.positions_m, pose.normals, shade)
        return shade

    def _solid(self, side: int, vertices_m: FloatArray | None) -> Solid | None:
        return None if vertices_m is None else solid(vertices_m, self._patches[side])

    def _shadows(self, direction: FloatArray, edge_m: float, vertices_m: list[FloatArray | None]) -> _Key:
        """Draw the maps of a light in `direction` (3,)."""
        view = light_view(direction, [v for v in vertices_m if v is not None])
        for side, vertices in enumerate(vertices_m):
            if vertices is not None:
                self._maps.draw(view, side, vertices, self._arrays[side].faces)
        return _Key(view, edge_m, (vertices_m[0] is not None, vertices_m[1] is not None))

    def _shadow(self, side: int, positions_m: FloatArray, normals: FloatArray, shade: FloatArray) -> None:
        """Fill in what the key light reaches."""
        if (key := self._key) is None:
            return
        shade[:, 1] = shade[:, 3] = self._maps.lit(key.view, side, positions_m, normals, key.edge_m, own=True)
        if key.drawn[1 - side]:
            shade[:, 3] *= self._maps.lit(key.view, 1 - side, positions_m, normals, key.edge_m, own=False)
