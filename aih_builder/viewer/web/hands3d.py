"""The hands of a sample in space, with the camera that sees them, as a page of its own: three.js by trimesh."""

import numpy as np
import trimesh
from trimesh.path import Path3D
from trimesh.path.exchange.misc import lines_to_path
from trimesh.viewer.notebook import scene_to_html
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from aih_builder.drawing import HAND_COLOURS
from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.model import HandModel
from aih_builder.sample import SIDES, Sample

_TO_GL = np.diag([1.0, -1.0, -1.0])  # from camera axes to x right, y up, z backward
_FROM_ASIDE = np.deg2rad([-20.0, 35.0, 0.0])  # how the view is turned from the camera's
_SHORT = 0.4  # the drawn frustum's length, as a share of the way to the hands


def hands_page(sample: Sample, hands: tuple[HandModel, HandModel]) -> str:
    """HTML with a mesh of each hand whose pose is known, and what its camera, where known, sees; the mouse turns it.

    In AIH-Sync each hand has a camera of its own; both are drawn at one place. Raises ConfigError where no pose is
    known.
    """
    shown = np.flatnonzero(sample.hand_present & sample.pose_valid).tolist()
    if not shown:
        raise ConfigError(f"sample {sample.index}: the pose of neither hand is known, so there is no mesh to show.")
    scene, points = trimesh.Scene(), []
    size_wh = np.array(sample.image_rgb.shape[1::-1])
    for hand in shown:
        pose = (sample.mano_pose_rad[hand], sample.mano_betas[hand], sample.mano_trans_m[hand])
        vertices_m = hands[hand].pose(*(np.asarray(p, np.float64) for p in pose)).vertices_m @ _TO_GL
        points.append(vertices_m)
        mesh = trimesh.Trimesh(vertices_m, hands[hand].arrays.faces, process=False)
        mesh = trimesh.Trimesh(vertices_m, mesh.faces, vertex_normals=mesh.vertex_normals, process=False)  # smooth
        mesh.visual = TextureVisuals(
            material=PBRMaterial(
                baseColorFactor=[*HAND_COLOURS[hand], 255], metallicFactor=0.0, roughnessFactor=0.7, doubleSided=True
            )
        )
        scene.add_geometry(mesh, geom_name=f"{SIDES[hand]} hand")
        if np.linalg.det(sample.K_px[hand].astype(np.float64)) == 0:  # damaged, or not known
            continue
        corners_m = _corners(sample.K_px[hand], size_wh, _SHORT * -float(vertices_m[:, 2].mean())) @ _TO_GL
        frustum = Path3D(**lines_to_path(_frustum(corners_m)))
        frustum.colors = [[*HAND_COLOURS[hand], 255]] * len(frustum.entities)
        scene.add_geometry(frustum, geom_name=f"camera of the {SIDES[hand]} hand")
    middle = np.concatenate(points).mean(axis=0)
    reach = float(np.linalg.norm(middle))
    scene.set_camera(angles=_FROM_ASIDE, distance=1.05 * reach, center=0.7 * middle, fov=(50.0, 50.0))
    return scene_to_html(scene).replace("THREE.Color(0xffffff)", "THREE.Color(0x8b9099)")


def _corners(k_px: FloatArray, size_wh: FloatArray, depth_m: float) -> FloatArray:
    """Where the image's corners lie at a depth, (4, 3), camera frame."""
    pixels = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size_wh - 0.5
    rays = np.linalg.solve(np.asarray(k_px, np.float64), np.column_stack([pixels, np.ones(4)]).T).T
    return rays * depth_m


def _frustum(corners_m: FloatArray) -> FloatArray:
    """Line segments (8, 2, 3) from the camera to the corners, and around them."""
    edges = np.stack([np.zeros_like(corners_m), corners_m], axis=1)
    around = np.stack([corners_m, np.roll(corners_m, -1, axis=0)], axis=1)
    return np.concatenate([edges, around])
