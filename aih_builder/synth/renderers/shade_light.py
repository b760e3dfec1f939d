"""Light on a chunk of samples, as synth.renderers.base defines it. See shade_chunk for the form of the loops."""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.synth.renderers.base import BLEED, FOLD_TINT, SPECULAR_F0, WRAP
from aih_builder.synth.renderers.shade_chunk import (
    BESIDE_BLUE,
    BESIDE_GREEN,
    BESIDE_RED,
    BLUE,
    CHUNK,
    CREASE,
    FACING,
    GAIN,
    GREEN,
    HANDEDNESS,
    LIT,
    LIT_BESIDE,
    MAP_X,
    MAP_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPEN,
    OPEN_BESIDE,
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
    """Tilt the normals by the normal map, deepen folds; make normals and directions to the camera unit vectors."""
    for i in range(CHUNK):
        deeper = (b[GAIN + i] - 1.0) * b[CREASE + i] * (1.0 / 255.0)
        b[RED + i] = np.divide(b[RED + i], 1.0 + FOLD_TINT[0] * deeper)
        b[GREEN + i] = np.divide(b[GREEN + i], 1.0 + FOLD_TINT[1] * deeper)
        b[BLUE + i] = np.divide(b[BLUE + i], 1.0 + FOLD_TINT[2] * deeper)
        nx, ny, nz = b[NORMAL_X + i], b[NORMAL_Y + i], b[NORMAL_Z + i]
        tx, ty, tz = b[TANGENT_X + i], b[TANGENT_Y + i], b[TANGENT_Z + i]
        q = np.divide(1.0, np.sqrt(max(nx * nx + ny * ny + nz * nz, 1e-18)))
        nx, ny, nz = nx * q, ny * q, nz * q
        dot = nx * tx + ny * ty + nz * tz
        tx, ty, tz = tx - dot * nx, ty - dot * ny, tz - dot * nz
        q = np.divide(1.0, np.sqrt(max(tx * tx + ty * ty + tz * tz, 1e-18)))
        tx, ty, tz = tx * q, ty * q, tz * q
        mx, my = b[MAP_X + i] * (1.0 / 127.5) - 1.0, b[MAP_Y + i] * (1.0 / 127.5) - 1.0
        mx, my = mx * (1.0 + deeper), my * (1.0 + deeper)
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
def _soft(share, weight):
    """A share of light, 0 to 1, and what the skin around adds to it."""
    return share * (1.0 + weight * (1.0 - share))


@compiled
def ambient(b, surroundings, pictures):
    """Start the colours with the light of the surroundings, whose nine terms are (9, 3); keep n.v."""
    c = surroundings
    r0, r1, r2, r3, r4, r5, r6, r7, r8 = c[0, 0], c[1, 0], c[2, 0], c[3, 0], c[4, 0], c[5, 0], c[6, 0], c[7, 0], c[8, 0]
    g0, g1, g2, g3, g4, g5, g6, g7, g8 = c[0, 1], c[1, 1], c[2, 1], c[3, 1], c[4, 1], c[5, 1], c[6, 1], c[7, 1], c[8, 1]
    b0, b1, b2, b3, b4, b5, b6, b7, b8 = c[0, 2], c[1, 2], c[2, 2], c[3, 2], c[4, 2], c[5, 2], c[6, 2], c[7, 2], c[8, 2]
    for i in range(CHUNK):
        x, y, z = b[NORMAL_X + i], b[NORMAL_Y + i], b[NORMAL_Z + i]
        xy, yz, xz, zz, xx = x * y, y * z, x * z, 3.0 * z * z - 1.0, x * x - y * y
        red = r0 + r1 * x + r2 * y + r3 * z + r4 * xy + r5 * yz + r6 * zz + r7 * xz + r8 * xx
        green = g0 + g1 * x + g2 * y + g3 * z + g4 * xy + g5 * yz + g6 * zz + g7 * xz + g8 * xx
        blue = b0 + b1 * x + b2 * y + b3 * z + b4 * xy + b5 * yz + b6 * zz + b7 * xz + b8 * xx
        albedo_r, albedo_g, albedo_b = b[RED + i], b[GREEN + i], b[BLUE + i]
        red, green, blue = albedo_r * max(red, 0.0), albedo_g * max(green, 0.0), albedo_b * max(blue, 0.0)
        share = b[OPEN + i]
        b[OUT_RED + i] = red * _soft(share, albedo_r)
        b[OUT_GREEN + i] = green * _soft(share, albedo_g)
        b[OUT_BLUE + i] = blue * _soft(share, albedo_b)
        if len(pictures) == 2:
            share = b[OPEN_BESIDE + i]
            b[BESIDE_RED + i] = red * _soft(share, albedo_r)
            b[BESIDE_GREEN + i] = green * _soft(share, albedo_g)
            b[BESIDE_BLUE + i] = blue * _soft(share, albedo_b)
        facing = x * b[VIEW_X + i] + y * b[VIEW_Y + i] + z * b[VIEW_Z + i]
        b[FACING + i] = max(abs(facing), 1e-3)


@compiled
def _wrapped(nl, wrap):
    """Diffuse share of a light at n.l; wrap is a constant."""
    return max(0.0, nl * (1.0 / (1.0 + wrap)) + wrap / (1.0 + wrap))


@compiled
def _met(b, i, lx, ly, lz):
    """n.l of a light and sample i, and what of it is mirrored."""
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
    fresnel = SPECULAR_F0 + max(1.0 - roughness - SPECULAR_F0, 0.0) * p2 * p2 * p
    # D * G * F / (4 nl nv) * pi * nl; the pi of D cancels, and so does nl: what faces away gets 0.
    below = 4.0 * d * d * (b[FACING + i] * (1.0 - k) + k) * (lit * (1.0 - k) + k)
    return nl, np.divide(fresnel * a2 * lit, below)


@compiled
def add_key(b, direction, radiance, pictures):
    """Add the light that casts shadows to the colours."""
    lx, ly, lz = direction[0], direction[1], direction[2]
    red, green, blue = radiance[0], radiance[1], radiance[2]
    for i in range(CHUNK):
        nl, specular = _met(b, i, lx, ly, lz)
        dull_r = b[RED + i] * _wrapped(nl, WRAP[0])
        dull_g = b[GREEN + i] * _wrapped(nl, WRAP[1])
        dull_b = b[BLUE + i] * _wrapped(nl, WRAP[2])
        share = b[LIT + i]
        mirrored = specular * share
        b[OUT_RED + i] += red * (dull_r * _soft(share, BLEED[0]) + mirrored)
        b[OUT_GREEN + i] += green * (dull_g * _soft(share, BLEED[1]) + mirrored)
        b[OUT_BLUE + i] += blue * (dull_b * _soft(share, BLEED[2]) + mirrored)
        if len(pictures) == 2:
            share = b[LIT_BESIDE + i]
            mirrored = specular * share
            b[BESIDE_RED + i] += red * (dull_r * _soft(share, BLEED[0]) + mirrored)
            b[BESIDE_GREEN + i] += green * (dull_g * _soft(share, BLEED[1]) + mirrored)
            b[BESIDE_BLUE + i] += blue * (dull_b * _soft(share, BLEED[2]) + mirrored)


@compiled
def add_fill(b, direction, radiance, pictures):
    """Add a wide light to the colours: skin that is half hidden from the surroundings is so from it."""
    lx, ly, lz = direction[0], direction[1], direction[2]
    red, green, blue = radiance[0], radiance[1], radiance[2]
    for i in range(CHUNK):
        nl, specular = _met(b, i, lx, ly, lz)
        albedo_r, albedo_g, albedo_b = b[RED + i], b[GREEN + i], b[BLUE + i]
        dull_r = albedo_r * _wrapped(nl, WRAP[0])
        dull_g = albedo_g * _wrapped(nl, WRAP[1])
        dull_b = albedo_b * _wrapped(nl, WRAP[2])
        share = b[OPEN + i]
        mirrored = specular * share
        b[OUT_RED + i] += red * (dull_r * _soft(share, albedo_r) + mirrored)
        b[OUT_GREEN + i] += green * (dull_g * _soft(share, albedo_g) + mirrored)
        b[OUT_BLUE + i] += blue * (dull_b * _soft(share, albedo_b) + mirrored)
        if len(pictures) == 2:
            share = b[OPEN_BESIDE + i]
            mirrored = specular * share
            b[BESIDE_RED + i] += red * (dull_r * _soft(share, albedo_r) + mirrored)
            b[BESIDE_GREEN + i] += green * (dull_g * _soft(share, albedo_g) + mirrored)
            b[BESIDE_BLUE + i] += blue * (dull_b * _soft(share, albedo_b) + mirrored)
