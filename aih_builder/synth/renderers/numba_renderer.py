"""The renderer for machines without a GPU: compiled by numba, strict arithmetic, the same bytes on one CPU type."""

from typing import final

import numba
import numpy as np

from aih_builder.synth.byte_cache import ByteCache
from aih_builder.synth.renderers.base import HandDraw, Layer, Renderer, RenderRequest
from aih_builder.synth.renderers.rasterize import clear, project_to_grid, rasterize_on_clear
from aih_builder.synth.renderers.samples import ORDER
from aih_builder.synth.renderers.shade import TO_SRGB, level_of_detail, shade, texture_pyramid
from aih_builder.synth.renderers.shade_place import corner_records, rays
from aih_builder.synth.renderers.shade_texture import packed_texels

_PYRAMID_BYTES = 128 * 2**20  # about 3 MB each at 512 px


@final
class NumbaRenderer(Renderer):
    """A z-buffer. Keeps its buffers and the textures it met."""

    def __init__(self) -> None:
        self._pyramids: ByteCache[tuple[np.ndarray, np.ndarray]] = ByteCache(_PYRAMID_BYTES, lambda p: p[0].nbytes)
        self._near = np.empty((0, 0), np.float32)
        self._triangle = np.empty((0, 0), np.int32)
        self._stale = (0, -1, 0, -1)  # the box of samples in these buffers that hold what was drawn last

    def render(self, request: RenderRequest) -> tuple[Layer | None, Layer | None]:
        """See Renderer.render."""
        samples = request.size_px * request.supersamples
        if self._near.shape[0] != samples:
            self._near = np.empty((samples, samples), np.float32)
            self._triangle = np.empty((samples, samples), np.int32)
            self._stale = (0, samples - 1, 0, samples - 1)
        right, left = (None if hand is None else self._layer(request, hand) for hand in request.hands)
        return right, left

    def description(self) -> str:
        """See Renderer.description."""
        return f"numba {numba.__version__}"

    def _layer(self, request: RenderRequest, hand: HandDraw) -> Layer:
        size = request.size_px
        grid_xy, inverse_z = project_to_grid(hand.positions_m, request.K_px, request.supersamples)
        clear(self._near, self._triangle, self._stale)
        self._stale = (0, size * request.supersamples - 1, 0, size * request.supersamples - 1)  # until the box is known
        box = self._stale = rasterize_on_clear(grid_xy, inverse_z, hand.faces, self._near, self._triangle)
        rgba = np.empty((size, size, 4), np.uint8)
        depth_m = np.empty((size, size), np.float32)
        normal = np.empty((size if request.with_normals else 0, size, 3), np.int8)
        texels, sides = self._pyramid(hand)
        lights, openness, fold_gain = request.lights, hand.openness_of_all(), hand.fold_gain_of_all()
        is_shaded = hand.is_shaded()
        pictures = (0, 0) if is_shaded else (0,)
        beside_rgba = np.empty((size if is_shaded else 0, size, 4), np.uint8)
        shade(
            self._near, self._triangle, box, ORDER[request.supersamples], (0,) * request.supersamples,
            corner_records(grid_xy, inverse_z, hand.normals, hand.tangents, hand.uv, fold_gain, openness),
            hand.faces,
            rays(request.K_px, request.supersamples), texels, sides, level_of_detail(request, hand),
            lights.directions, lights.radiance_rgb, lights.ambient_rgb,
            TO_SRGB, pictures, rgba, beside_rgba, depth_m, normal,
        )  # fmt: skip
        return Layer(rgba, depth_m, normal if request.with_normals else None, beside_rgba if is_shaded else None)

    def _pyramid(self, hand: HandDraw) -> tuple[np.ndarray, np.ndarray]:
        def make() -> tuple[np.ndarray, np.ndarray]:
            pyramid, sides = texture_pyramid(hand.texture, hand.side)
            return packed_texels(pyramid), sides

        return self._pyramids.get((hand.texture.id, hand.side), make)
