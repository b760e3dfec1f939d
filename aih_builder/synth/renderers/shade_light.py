"""Light on a chunk of samples, as synth.renderers.base defines it. See shade_chunk for the form of the loops."""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.synth.renderers.base import SPECULAR_F0, WRAP
from aih_builder.synth.renderers.shade_chunk import (
    BLUE,
    CHUNK,
    FACING,
    GREEN,
    HANDEDNESS,
    MAP_X,
    MAP_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OUT_BLUE,
    OUT_GREEN,
    OUT_RED,
    RED,
    ROUGHNESS,
    TANGENT_X,
    TANGENT_Y,
    TANGENT_Z,
    VIEW_X,
    VIEW_Y,
    VIEW_Z,
)


@compiled
def bend(b):
    """Tilt the normals by the normal map; make normals and directions to the camera unit vectors."""
    for i in range(CHUNK):
        nx, ny, nz = b[NORMAL_X + i], b[NORMAL_Y + i], b[NORMAL_Z + i]
        tx, ty, tz = b[TANGENT_X + i], b[TANGENT_Y + i], b[TANGENT_Z + i]
        q = np.divide(1.0, np.sqrt(max(nx * nx + ny * ny + nz * nz, 1e-18)))
        nx, ny, nz = nx * q, ny * q, nz * q
        dot = nx * tx + ny * ty + nz * tz
        tx, ty, tz = tx - dot * nx, ty - dot * ny, tz - dot * nz
        q = np.divide(1.0, np.sqrt(max(tx * tx + ty * ty + tz * tz, 1e-18)))
        tx, ty, tz = tx * q, ty * q, tz * q
        mx, my = b[MAP_X + i] * (1.0 / 127.5) - 1.0, b[MAP_Y + i] * (1.0 / 127.5) - 1.0
        mz = np.sqrt(max(1.0 - mx * mx - my * my, 0.01))
        my *= b[HANDEDNESS + i]
        x = nx * mz + tx * mx + (ny * tz - nz * ty) * my
        y = ny * mz + ty * mx + (nz * tx - nx * tz) * my
        z = nz * mz + tz * mx + (nx * ty - ny * tx) * my
        q = np.divide(1.0, np.sqrt(x * x + y * y + z * z))
        b[NORMAL_X + i], b[NORMAL_Y + i], b[NORMAL_Z + i] = x * q, y * q, z * q
        vx, vy = b[VIEW_X + i], b[VIEW_Y + i]
        q = np.divide(-1.0, np.sqrt(vx * vx + vy * vy + 1.0))
        b[VIEW_X + i], b[VIEW_Y + i], b[VIEW_Z + i] = vx * q, vy * q, q


@compiled
def ambient(b, sky, ground, up):
    """Start the colours with the light of the surroundings."""
    ux, uy, uz = up[0], up[1], up[2]
    mid_r, mid_g, mid_b = 0.5 * (sky[0] + ground[0]), 0.5 * (sky[1] + ground[1]), 0.5 * (sky[2] + ground[2])
    dif_r, dif_g, dif_b = 0.5 * (sky[0] - ground[0]), 0.5 * (sky[1] - ground[1]), 0.5 * (sky[2] - ground[2])
    for i in range(CHUNK):
        nx, ny, nz = b[NORMAL_X + i], b[NORMAL_Y + i], b[NORMAL_Z + i]
        height = nx * ux + ny * uy + nz * uz
        b[OUT_RED + i] = b[RED + i] * (mid_r + dif_r * height)
        b[OUT_GREEN + i] = b[GREEN + i] * (mid_g + dif_g * height)
        b[OUT_BLUE + i] = b[BLUE + i] * (mid_b + dif_b * height)
        facing = nx * b[VIEW_X + i] + ny * b[VIEW_Y + i] + nz * b[VIEW_Z + i]
        b[FACING + i] = max(abs(facing), 1e-3)


@compiled
def _wrapped(nl, wrap):
    """Diffuse share of a light at n.l; wrap is a constant."""
    return max(0.0, nl * (1.0 / (1.0 + wrap)) + wrap / (1.0 + wrap))


@compiled
def add_light(b, direction, radiance):
    """Add one light to the colours."""
    lx, ly, lz = direction[0], direction[1], direction[2]
    red, green, blue = radiance[0], radiance[1], radiance[2]
    for i in range(CHUNK):
        nx, ny, nz = b[NORMAL_X + i], b[NORMAL_Y + i], b[NORMAL_Z + i]
        vx, vy, vz = b[VIEW_X + i], b[VIEW_Y + i], b[VIEW_Z + i]
        nl = nx * lx + ny * ly + nz * lz
        lit = max(nl, 0.0)
        hx, hy, hz = lx + vx, ly + vy, lz + vz
        q = np.divide(1.0, np.sqrt(max(hx * hx + hy * hy + hz * hz, 1e-18)))
        nh = max((nx * hx + ny * hy + nz * hz) * q, 0.0)
        vh = max((vx * hx + vy * hy + vz * hz) * q, 0.0)
        roughness = max(b[ROUGHNESS + i] * (1.0 / 255.0), 0.05)
        k = (roughness + 1.0) * (roughness + 1.0) * 0.125
        a2 = roughness * roughness * roughness * roughness
        d = nh * nh * (a2 - 1.0) + 1.0
        p = 1.0 - vh
        p2 = p * p
        fresnel = SPECULAR_F0 + (1.0 - SPECULAR_F0) * p2 * p2 * p
        # D * G * F / (4 nl nv) * pi * nl; the pi of D cancels, and so does nl: what faces away gets 0.
        below = 4.0 * d * d * (b[FACING + i] * (1.0 - k) + k) * (lit * (1.0 - k) + k)
        specular = np.divide(fresnel * a2 * lit, below)
        b[OUT_RED + i] += red * (b[RED + i] * _wrapped(nl, WRAP[0]) + specular)
        b[OUT_GREEN + i] += green * (b[GREEN + i] * _wrapped(nl, WRAP[1]) + specular)
        b[OUT_BLUE + i] += blue * (b[BLUE + i] * _wrapped(nl, WRAP[2]) + specular)
