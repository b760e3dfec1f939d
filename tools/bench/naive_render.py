"""How most generators draw: pyrender as its examples show it, everything made anew for each sample.

One OffscreenRenderer is kept; scene, meshes and textures are rebuilt. Three passes for colour (both hands, each alone),
three for segmentation, MSAA 4, composited by numpy.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from aih_builder.synth.renderers.gl_context import process_context
from tools.bench.scenes import Scene

# A renderer that is deleted ends the display of all others in its process.
_kept: list[Any] = []

_TO_GL = np.array([1.0, -1.0, -1.0])  # y up, looking along -z


def naive(scenes: list[Scene]) -> Callable[[int], dict[str, Any]]:
    """A function that draws scene i and returns image, targets, four masks and depth."""
    process_context(0)  # sets up PyOpenGL for EGL; the renderer below has a context of its own on the same device
    import pyrender
    import trimesh
    import trimesh.visual
    from PIL import Image

    size = scenes[0].request.size_px
    renderer = pyrender.OffscreenRenderer(size, size)
    _kept.append(renderer)
    flags = pyrender.RenderFlags

    def draw(i: int) -> dict[str, Any]:
        scene = scenes[i]
        K, lights = scene.request.K_px, scene.request.lights
        meshes = []
        for hand in scene.request.hands:
            assert hand is not None
            albedo = Image.fromarray(hand.texture.albedo_rgb[hand.side])
            mesh = trimesh.Trimesh(hand.positions_m * _TO_GL, hand.faces, process=False)
            mesh.visual = trimesh.visual.TextureVisuals(uv=hand.uv, image=albedo)
            material = pyrender.MetallicRoughnessMaterial(
                baseColorTexture=albedo, metallicFactor=0.0, roughnessFactor=0.6
            )
            meshes.append(pyrender.Mesh.from_trimesh(mesh, material=material, smooth=True))

        def of(chosen: list[Any]) -> tuple[Any, list[Any]]:
            world = pyrender.Scene(ambient_light=[0.3] * 3, bg_color=[0, 0, 0, 0])
            nodes = [world.add(mesh) for mesh in chosen]
            # pyrender's pixel centres lie at halves.
            camera = pyrender.IntrinsicsCamera(K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5, znear=0.05, zfar=5.0)
            world.add(camera)
            for direction in lights.directions:
                world.add(pyrender.DirectionalLight(color=np.ones(3), intensity=2.0), pose=_looking(direction))
            return world, nodes

        worlds = [of(meshes), of(meshes[:1]), of(meshes[1:])]
        drawn: list[Any] = [renderer.render(world, flags.RGBA) for world, _ in worlds]
        (both, depth), (right, _), (left, _) = drawn
        seg = []
        for world, nodes in worlds:
            colours = {node: (255, 0, 0) if n == 0 else (0, 255, 0) for n, node in enumerate(nodes)}
            pair: Any = renderer.render(world, flags.SEG, seg_node_map=colours)
            seg.append(pair[0])
        background = scene.background_rgb.astype(np.float32)

        def over(rgba: np.ndarray) -> np.ndarray:
            alpha = rgba[..., 3:].astype(np.float32) / 255
            return np.rint(rgba[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)

        return {
            "image": over(both), "right": over(right), "left": over(left), "depth": depth,
            "amodal": (seg[1][..., 0] > 127, seg[2][..., 0] > 127),
            "visible": (seg[0][..., 0] > 127, seg[0][..., 1] > 127),
        }  # fmt: skip

    return draw


def _looking(direction: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of a light that shines against a direction (3,) of our camera frame."""
    z = direction * _TO_GL
    x = np.cross([0.0, 1.0, 0.001], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return pose
