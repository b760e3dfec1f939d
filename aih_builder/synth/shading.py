"""What hands do to the light that falls on them: ambient occlusion and the key's shadows, vertex by vertex."""

import numpy as np

from aih_builder.config.look import Shading
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.surface import HandSurface, SurfacePose
from aih_builder.sources.lights import Lights
from aih_builder.synth.occlusion import Patches, Solid, openness, patches, solid
from aih_builder.synth.shadows import ShadowMaps, light_view


class HandShading:
    """Measures how open the skin of both hands lies to the surroundings and to the key light."""

    def __init__(self, arrays: tuple[HandArrays, HandArrays], surfaces: tuple[HandSurface, HandSurface]) -> None:
        self._arrays, self._surfaces = arrays, surfaces
        self._patches: tuple[Patches, Patches] = (patches(arrays[0]), patches(arrays[1]))
        self._maps = ShadowMaps()

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
        shown = [i for i in (0, 1) if vertices_m[i] is not None]
        found: list[FloatArray | None] = [None, None]
        for i in shown:
            found[i] = np.ones((len(self._surfaces[i].uv), 4))
        if look.occlusion:
            self._occlude(vertices_m, found)
        if casts:
            self._shadow(lights.directions[0], edge_m, vertices_m, posed, found)
        return found[0], found[1]

    def _occlude(self, vertices_m: list[FloatArray | None], found: list[FloatArray | None]) -> None:
        solids: list[Solid | None] = [
            None if v is None else solid(v, fixed) for v, fixed in zip(vertices_m, self._patches, strict=True)
        ]
        for i, mine in enumerate(solids):
            shade = found[i]
            if mine is not None and shade is not None:
                pair = np.stack(openness(mine, solids[1 - i]), axis=1)
                shade[:, [0, 2]] = self._surfaces[i].spread(pair)

    def _shadow(
        self,
        direction: FloatArray,
        edge_m: float,
        vertices_m: list[FloatArray | None],
        posed: list[SurfacePose | None],
        found: list[FloatArray | None],
    ) -> None:
        view = light_view(direction, [v for v in vertices_m if v is not None])
        for i, vertices in enumerate(vertices_m):
            if vertices is not None:
                self._maps.draw(view, i, vertices, self._arrays[i].faces)
        for i, (pose, shade) in enumerate(zip(posed, found, strict=True)):
            if pose is None or shade is None:
                continue
            own = self._maps.lit(view, i, pose.positions_m, pose.normals, edge_m, own=True)
            shade[:, 1] = shade[:, 3] = own
            if vertices_m[1 - i] is not None:
                shade[:, 3] *= self._maps.lit(view, 1 - i, pose.positions_m, pose.normals, edge_m, own=False)
