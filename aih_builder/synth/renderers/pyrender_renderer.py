"""The renderer for GPUs: pyrender on EGL. Mesa's software OpenGL will do, too."""

import weakref
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from aih_builder.errors import AihError
from aih_builder.synth.byte_cache import ByteCache
from aih_builder.synth.renderers.base import HandDraw, Layer, Renderer, RenderRequest
from aih_builder.synth.renderers.gl_context import GlContext, process_context
from aih_builder.synth.renderers.gl_resolve import (
    VERTEX_FLOATS,
    Frustum,
    classify,
    clip_matrix,
    frustum,
    pack_vertices,
    resolve,
    resolve_normals,
)
from aih_builder.synth.renderers.samples import ORDER
from aih_builder.synth.renderers.shade import level_of_detail, texture_pyramid

if TYPE_CHECKING:
    import pyrender

    from aih_builder.synth.renderers.gl_textures import GpuPyramid
    from aih_builder.synth.renderers.hand_pass import Drawing

_PYRAMID_BYTES = 256 * 2**20  # about 4 MB each at 512 px
_MESH_BYTES = 16 * 2**20  # 0.3 MB each, 1 MB with two subdivisions


class _Mesh(NamedTuple):
    """A topology on the GPU. It keeps the arrays that it is known by, so that no others can take their place."""

    faces: np.ndarray
    uv: np.ndarray
    mesh: "pyrender.Mesh"
    node: "pyrender.Node"
    vertices: np.ndarray  # (R, VERTEX_FLOATS) float32, as last uploaded


class _Samples(NamedTuple):
    """One hand, drawn: its box of h x w pixels with S x S samples each."""

    near: np.ndarray  # (S h, S w) 1/z
    kinds: np.ndarray  # (h, w)
    centres: "Drawing"
    edges: "Drawing | None"  # every sample of the pixels that need them all


@final
class PyrenderRenderer(Renderer):
    """A persistent scene with one mesh per topology; poses update its vertices in place.

    At 3 x 3 samples per pixel a hand is drawn three times: depth of all samples, colour at pixel centres, and colour
    of every sample of those pixels that show an edge.
    """

    def __init__(self, worker: int = 0) -> None:
        """Take part in this process's OpenGL context. Raises ConfigError where there can be none."""
        self._context = process_context(worker)
        self._context.make_current()
        import pyrender

        from aih_builder.synth.renderers.hand_pass import ClipCamera, HandPass

        self._pass = HandPass()
        self._camera = ClipCamera()
        self._scene = pyrender.Scene(bg_color=np.zeros(4))
        self._scene.add_node(pyrender.Node(camera=self._camera))
        scene = self._scene
        self._meshes: ByteCache[_Mesh] = ByteCache(
            _MESH_BYTES,
            lambda kept: kept.vertices.nbytes + kept.faces.nbytes,
            lambda kept: scene.remove_node(kept.node),  # pyrender frees its buffers before it draws again
        )
        self._pyramids: ByteCache[GpuPyramid] = ByteCache(
            _PYRAMID_BYTES, lambda pyramid: pyramid.n_bytes, lambda pyramid: pyramid.free()
        )
        weakref.finalize(self, _free_all, self._context, self._pyramids).atexit = False

    def description(self) -> str:
        """See Renderer.description."""
        return f"pyrender {version('pyrender-maintained')}, {self._context.renderer}, OpenGL {self._context.version}"

    def render(self, request: RenderRequest) -> tuple[Layer | None, Layer | None]:
        """See Renderer.render. Raises ConfigError where the device cannot draw that many samples or lights."""
        self._context.make_current()
        right, left = (None if hand is None else self._layer(request, hand) for hand in request.hands)
        return right, left

    def _layer(self, request: RenderRequest, hand: HandDraw) -> Layer:
        size = request.size_px
        rgba, depth_m = np.zeros((size, size, 4), np.uint8), np.zeros((size, size), np.float32)
        beside_rgba = np.zeros_like(rgba) if hand.is_shaded() else None
        normal = np.zeros((size, size, 3), np.int8) if request.with_normals else None
        seen = frustum(hand.positions_m, request.K_px, size)
        if seen is None:
            return Layer(rgba, depth_m, normal, beside_rgba)
        order, (left, top) = ORDER[request.supersamples], seen.box_px[:2]
        from aih_builder.synth.renderers.hand_pass import BESIDE, NORMAL

        mesh = self._posed(hand)
        mesh.is_visible = True
        try:
            samples = self._samples(request, hand, seen)
            centre = samples.centres.rgba
            every = centre if samples.edges is None else samples.edges.rgba
            resolve(samples.near, samples.kinds, centre, every, order, left, top, rgba, depth_m)
            if beside_rgba is not None:
                centre, every = self._drawn_again(request, samples, seen, BESIDE)
                resolve(samples.near, samples.kinds, centre, every, order, left, top, beside_rgba, depth_m)
            if normal is not None:
                centre, every = self._drawn_again(request, samples, seen, NORMAL)
                resolve_normals(samples.near, samples.kinds, centre, every, order, left, top, normal)
        finally:
            mesh.is_visible = False
        return Layer(rgba, depth_m, normal, beside_rgba)

    def _samples(self, request: RenderRequest, hand: HandDraw, seen: Frustum) -> _Samples:
        from aih_builder.synth.renderers.hand_pass import Drawing

        size, fine = request.size_px, request.supersamples
        left, top, width, height = seen.box_px
        depth = np.empty((fine * height, fine * width), np.float32)
        centres = Drawing(
            side=size,
            box=seen.box_px,
            lights=request.lights,
            pyramid=self._pyramid(hand),
            level_of_detail=level_of_detail(request, hand),
            rgba=np.empty((height, width, 4), np.uint8),
            depth=depth if fine == 1 else None,
        )
        whole = replace(
            centres,
            side=fine * size,
            box=(fine * left, fine * top, fine * width, fine * height),
            per_pixel=fine,
            rgba=None,
            depth=depth,
        )
        if fine > 1:
            self._draw(request, seen, whole)
        self._draw(request, seen, centres)
        near, kinds = np.empty_like(depth), np.empty((height, width), np.uint8)
        if not classify(depth, seen.near_m, seen.far_m, centres.rgba, near, kinds):
            return _Samples(near, kinds, centres, None)
        edges = replace(whole, allowed=depth, rgba=np.empty((*depth.shape, 4), np.uint8), depth=None)
        self._draw(request, seen, edges)
        return _Samples(near, kinds, centres, edges)

    def _drawn_again(
        self, request: RenderRequest, samples: _Samples, seen: Frustum, wanted: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Another picture (normals are + 128) at pixel centres and at all samples; the same twice where centres do."""
        drawn = []
        for drawing in (samples.centres, samples.edges):
            if drawing is not None and drawing.rgba is not None:
                drawn.append(np.empty_like(drawing.rgba))
                self._draw(request, seen, replace(drawing, wanted=wanted, rgba=drawn[-1], depth=None))
        return drawn[0], drawn[-1]

    def _draw(self, request: RenderRequest, seen: Frustum, drawing: "Drawing") -> None:
        self._camera.matrix = clip_matrix(request.K_px, request.size_px, drawing.per_pixel, seen.near_m, seen.far_m)
        self._pass.draw(self._scene, drawing)

    def _posed(self, hand: HandDraw) -> "pyrender.Mesh":
        """The mesh of a hand's topology, in its pose."""
        kept = self._meshes.get((id(hand.faces), id(hand.uv)), lambda: self._new_mesh(hand))
        pack_vertices(hand, kept.vertices)
        self._pass.upload(kept.mesh.primitives[0], kept.vertices)
        return kept.mesh

    def _new_mesh(self, hand: HandDraw) -> _Mesh:
        import pyrender

        vertices = np.empty((len(hand.uv), VERTEX_FLOATS), np.float32)
        pack_vertices(hand, vertices)
        position, normal, tangent, uv, gain_open, shade = np.split(vertices, np.cumsum([3, 3, 4, 2, 2]), axis=1)
        primitive = pyrender.Primitive(position, normal, tangent, uv, gain_open, shade, indices=hand.faces)
        mesh = pyrender.Mesh([primitive], is_visible=False)
        node = pyrender.Node(mesh=mesh)
        self._scene.add_node(node)
        return _Mesh(hand.faces, hand.uv, mesh, node, vertices)

    def _pyramid(self, hand: HandDraw) -> "GpuPyramid":
        from aih_builder.synth.renderers.gl_textures import GpuPyramid

        return self._pyramids.get(
            (hand.texture.id, hand.side), lambda: GpuPyramid(*texture_pyramid(hand.texture, hand.side))
        )


def _free_all(context: GlContext, pyramids: "ByteCache[GpuPyramid]") -> None:
    try:
        context.make_current()
    except AihError:  # the context is lost, and its textures with it
        return
    pyramids.clear()
