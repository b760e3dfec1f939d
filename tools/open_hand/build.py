"""The whole build, step by step: MakeHuman's files in, the arrays and the nail picture out."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS, N_JOINTS, TIP_VERTICES
from tools.open_hand import anatomy, atlas, decimate, nails, numbering, posedirs, prior, shape
from tools.open_hand.body import Body, random_phenotype
from tools.open_hand.frame import RestHand, to_rest
from tools.open_hand.makehuman import BaseMesh, MakeHuman
from tools.open_hand.meshes import closest_points, neighbour_mean
from tools.open_hand.selection import JOINT_CUBES, TIP_CUBES, HandCut, cut_hand
from tools.open_hand.skinning import finished, sparse_rows, with_long_thumb

SEED = 20240923
N_BODIES, N_PRIOR_POSES = 300, 3000


class OpenHand(NamedTuple):
    """What the build makes."""

    arrays: dict[str, np.ndarray]  # as aih_builder.hands.arrays.HandArrays names them
    nails_rgb: np.ndarray  # u8 (1024, 1024, 3), see nails.py
    counts: dict[str, int]
    measured: dict[str, float | list[float]]


class _Mesh(NamedTuple):
    """The hand on both meshes. The coarse one has MANO's counts and the loaders' vertex ids."""

    mean: RestHand  # on the fine mesh
    fine_faces: np.ndarray
    from_fine: sp.csr_matrix  # (778, V)
    faces: np.ndarray  # (1538, 3)
    weights: FloatArray  # (778, 16)


def build(source: MakeHuman) -> OpenHand:
    """Build the right hand. Deterministic on one machine."""
    shape_rng, prior_rng, mush_rng = np.random.default_rng(SEED).spawn(3)
    base = source.base_mesh()
    cut = cut_hand(base, source.rig_weights())
    neighbours = neighbour_mean(cut.faces, len(cut.vertex_ids))
    rig_weights = finished(cut.weights, neighbours)
    samples = _sampled_hands(shape_rng, source, base, cut, rig_weights)
    mean = RestHand(*(np.mean(parts, axis=0) for parts in zip(*samples, strict=True)))
    weights = with_long_thumb(rig_weights, mean.vertices_m, mean.joints_m, neighbours)
    mesh = _coarse_mesh(mean, cut, weights)

    samples_m = np.stack([mesh.from_fine @ sample.vertices_m for sample in samples])
    space = shape.principal_shapes(samples_m)
    regressor = shape.joint_regressor(samples, samples_m)
    joints_m = regressor @ space.template_m

    painted = nails.find_nails(source.nail_mask(), cut, mean, weights)
    axes = anatomy.joint_axes(joints_m, mean.tips_m, painted.normals)
    limits_rad = anatomy.joint_limits_rad()
    poses = prior.pose_prior(prior_rng, axes, limits_rad, N_PRIOR_POSES)
    blend = posedirs.fit_posedirs(
        mush_rng,
        posedirs.FineHand(mean.vertices_m, mesh.fine_faces, weights),
        posedirs.CoarseHand(mesh.weights, mesh.from_fine),
        joints_m,
        axes,
        limits_rad,
    )
    charts = atlas.cut_atlas(space.template_m, mesh.faces, mesh.weights, joints_m, axes)
    plates = nails.nail_plates(painted, joints_m, axes)
    surface = nails.AtlasSurface(space.template_m, mesh.faces, charts.uv, charts.uv_faces, mesh.weights)
    return OpenHand(
        arrays={
            "v_template": space.template_m,
            "faces": mesh.faces.astype(np.int32),
            "weights": mesh.weights,
            "shapedirs": space.shapedirs_m.astype(np.float32),
            "posedirs": blend.posedirs_m.astype(np.float32),
            "J_regressor": regressor,
            "hands_mean": poses.mean_rad,
            "hands_components": poses.components.astype(np.float32),
            "tip_vertices": TIP_VERTICES.astype(np.int32),
            "uv": charts.uv.astype(np.float32),
            "uv_faces": charts.uv_faces.astype(np.int32),
            "dof_axes": axes,
            "dof_limits_rad": limits_rad,
        },
        nails_rgb=nails.draw_nails(surface, plates, joints_m, axes),
        counts={
            "bodies": N_BODIES,
            "prior_poses": N_PRIOR_POSES,
            "fine_vertices": len(cut.vertex_ids),
            "fine_faces": len(cut.faces),
            "vertices": len(space.template_m),
            "faces": len(mesh.faces),
            "uv_vertices": len(charts.uv),
            "uv_charts": 2,
        },
        measured={
            **_mesh_figures(samples, samples_m, regressor, mesh, space.template_m),
            "posedirs_residual_without_mm": 1e3 * blend.residual_before_m,
            "posedirs_residual_with_mm": 1e3 * blend.residual_after_m,
            "shape_variance_in_10": space.explained,
            "pose_variance_in_15": float(poses.cumulative_variance[14]),
            "atlas_coverage": charts.coverage,
            "nail_lengths_mm": [float(1e3 * plate.length_m) for plate in plates],
        },
    )


def _sampled_hands(
    rng: np.random.Generator,
    source: MakeHuman,
    base: BaseMesh,
    cut: HandCut,
    weights: FloatArray,
) -> list[RestHand]:
    cubes = [base.groups[name] for name in (*JOINT_CUBES, *TIP_CUBES)]
    body = Body(source, base, np.concatenate([cut.vertex_ids, *cubes]))
    starts = np.cumsum([len(cut.vertex_ids), *(len(cube) for cube in cubes[:-1])])
    samples = []
    for _ in range(N_BODIES):
        skin, *corners = np.split(body.vertices(random_phenotype(rng)), starts)
        points = np.stack([cube.mean(axis=0) for cube in corners])
        samples.append(to_rest(skin, points[:N_JOINTS], points[N_JOINTS:], weights))
    return samples


def _coarse_mesh(mean: RestHand, cut: HandCut, weights: FloatArray) -> _Mesh:
    coarse = decimate.decimate(mean.vertices_m, cut.faces)
    coarse_weights = sparse_rows(coarse.from_fine @ weights)
    order = numbering.loader_order(coarse.from_fine @ mean.vertices_m, coarse_weights, mean.joints_m, mean.tips_m)
    return _Mesh(
        mean,
        cut.faces,
        coarse.from_fine[order],
        np.argsort(order)[coarse.faces],
        coarse_weights[order],
    )


def _mesh_figures(
    samples: list[RestHand],
    samples_m: FloatArray,
    regressor: FloatArray,
    mesh: _Mesh,
    template_m: FloatArray,
) -> dict[str, float]:
    joints_m = np.stack([sample.joints_m for sample in samples])
    misses_m = np.linalg.norm(np.einsum("jv,nvc->njc", regressor, samples_m) - joints_m, axis=2)
    away_m = closest_points(mesh.mean.vertices_m, template_m, mesh.faces)[2]
    middle_tips_m = np.stack([sample.tips_m[1] for sample in samples])
    lengths_m = np.linalg.norm(middle_tips_m - joints_m[:, 0], axis=1)
    thumb = FINGERS["thumb"]
    metacarpal_m = np.linalg.norm(mesh.mean.joints_m[thumb + 1] - mesh.mean.joints_m[thumb])
    return {
        "decimation_deviation_mean_mm": float(1e3 * away_m.mean()),
        "decimation_deviation_max_mm": float(1e3 * away_m.max()),
        "joint_regressor_error_mean_mm": float(1e3 * misses_m.mean()),
        "joint_regressor_error_max_mm": float(1e3 * misses_m.max()),
        "wrist_to_middle_tip_mean_mm": float(1e3 * lengths_m.mean()),
        "wrist_to_middle_tip_std_mm": float(1e3 * lengths_m.std()),
        "thumb_metacarpal_mm": float(1e3 * metacarpal_m),
    }
