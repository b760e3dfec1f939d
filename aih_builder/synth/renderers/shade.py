"""Shading and resolving of rasterized samples, as synth.renderers.base defines them."""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.imaging import DISPLAY_GAMMA, ImageU8, to_u8
from aih_builder.synth.renderers.base import KNEE, SPECULAR_F0, WRAP, HandDraw, RenderRequest
from aih_builder.synth.renderers.samples import is_creased

_RESPONSE_STEPS = 1 << 15  # of the table of output levels, per unit of linear colour
_BRIGHTEST = 4.0  # linear colour from which on the output is 255

TO_LINEAR = ((np.arange(256) / 255.0) ** DISPLAY_GAMMA).astype(np.float32)


def _response(linear: np.ndarray) -> np.ndarray:
    """Output levels (float) of linear colour."""
    bent = KNEE + (1.0 - KNEE) * (1.0 - np.exp(-(linear - KNEE) / (1.0 - KNEE)))
    return 255.0 * np.where(linear <= KNEE, linear, bent) ** (1.0 / DISPLAY_GAMMA)


TO_SRGB = _response(np.arange(int(_BRIGHTEST * _RESPONSE_STEPS) + 1) / _RESPONSE_STEPS).astype(np.float32)


def texture_pyramid(albedo_rgb: ImageU8, normal_rgb: ImageU8, roughness: ImageU8) -> tuple[ImageU8, np.ndarray]:
    """All levels of one hand's maps, (texels, 6) u8: sRGB albedo, normal x and y, roughness; and each level's side.

    Colour is averaged in linear light; the coarsest level has 8 texels a side.
    """
    levels, sides = [], []
    linear = TO_LINEAR[albedo_rgb]
    rest = np.concatenate([normal_rgb[..., :2], roughness[..., None]], axis=2).astype(np.float32)
    while True:
        albedo = 255.0 * linear ** (1.0 / DISPLAY_GAMMA)
        levels.append(to_u8(np.concatenate([albedo, rest], axis=2)).reshape(-1, 6))
        sides.append(linear.shape[0])
        if linear.shape[0] <= 8:
            return np.concatenate(levels), np.array(sides, np.int64)
        linear, rest = _halved(linear), _halved(rest)


def _halved(image: np.ndarray) -> np.ndarray:
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) * np.float32(0.25)


def level_of_detail(request: RenderRequest, hand: HandDraw) -> float:
    """The one level of the texture pyramid, as a fraction, that all of a hand is drawn with."""
    texels_per_m = hand.uv_per_m * hand.texture.albedo_rgb.shape[1]
    distance_m = max(float(hand.positions_m[:, 2].mean()), 1e-6)  # behind the camera nothing is drawn
    return max(0.0, float(np.log2(texels_per_m * distance_m / request.K_px[1, 1])))


@compiled
def _fetch(pyramid, start, side, u, v, to_linear, out, weight):
    """Add weight times the bilinear lookup at (u, v) of a level to out (6,): `side` texels a side from row `start`."""
    x, y = u * side - 0.5, (1.0 - v) * side - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    left, right = min(max(x0, 0), side - 1), min(max(x0 + 1, 0), side - 1)
    top, bottom = start + min(max(y0, 0), side - 1) * side, start + min(max(y0 + 1, 0), side - 1) * side
    a, b, c, d = top + left, top + right, bottom + left, bottom + right
    wa, wb = (1.0 - fx) * (1.0 - fy) * weight, fx * (1.0 - fy) * weight
    wc, wd = (1.0 - fx) * fy * weight, fx * fy * weight
    for i in range(3):
        out[i] += (
            wa * to_linear[pyramid[a, i]]
            + wb * to_linear[pyramid[b, i]]
            + wc * to_linear[pyramid[c, i]]
            + wd * to_linear[pyramid[d, i]]
        )
        k = i + 3
        out[k] += wa * pyramid[a, k] + wb * pyramid[b, k] + wc * pyramid[c, k] + wd * pyramid[d, k]


@compiled
def _weights(x, y, a, b, c, grid_xy, inverse_z, out):
    """Perspective-correct weights (3,) of a triangle's corners at grid point (x, y); returns z."""
    ax, ay = grid_xy[a, 0], grid_xy[a, 1]
    bx, by = grid_xy[b, 0], grid_xy[b, 1]
    cx, cy = grid_xy[c, 0], grid_xy[c, 1]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0.0:
        area = 1e-12
    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
    # Snapping lets a sample lie a hair outside: stay on the triangle.
    wa = min(max(wa, 0.0), 1.0)
    wb = min(max(wb, 0.0), 1.0 - wa)
    out[0], out[1], out[2] = wa * inverse_z[a], wb * inverse_z[b], (1.0 - wa - wb) * inverse_z[c]
    z = 1.0 / (out[0] + out[1] + out[2])
    for k in range(3):
        out[k] *= z
    return z


@compiled
def _light(texel, normal, view, lights, radiance, sky, ground, up, to_srgb, colour):
    """Outgoing sRGB levels (3,) at a point with filtered texel (6,), unit normal and unit direction to the camera."""
    roughness = max(texel[5] / 255.0, 0.05)
    a2 = roughness**4
    k = (roughness + 1.0) ** 2 / 8.0
    nv = max(abs(normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2]), 1e-3)
    height = 0.5 + 0.5 * (normal[0] * up[0] + normal[1] * up[1] + normal[2] * up[2])
    for c in range(3):
        colour[c] = texel[c] * (ground[c] + (sky[c] - ground[c]) * height)
    for i in range(lights.shape[0]):
        lx, ly, lz = lights[i, 0], lights[i, 1], lights[i, 2]
        nl = normal[0] * lx + normal[1] * ly + normal[2] * lz
        specular = 0.0
        if nl > 0.0:
            hx, hy, hz = lx + view[0], ly + view[1], lz + view[2]
            q = 1.0 / max(np.sqrt(hx * hx + hy * hy + hz * hz), 1e-9)
            nh = max((normal[0] * hx + normal[1] * hy + normal[2] * hz) * q, 0.0)
            vh = max((view[0] * hx + view[1] * hy + view[2] * hz) * q, 0.0)
            d = nh * nh * (a2 - 1.0) + 1.0
            p = 1.0 - vh
            fresnel = SPECULAR_F0 + (1.0 - SPECULAR_F0) * p * p * p * p * p
            # D * G * F / (4 nl nv) * pi * nl; the pi of D cancels.
            specular = fresnel * a2 / (d * d) / (4.0 * (nv * (1.0 - k) + k) * (nl * (1.0 - k) + k)) * nl
        for c in range(3):
            diffuse = max(0.0, (nl + WRAP[c]) / (1.0 + WRAP[c]))
            colour[c] += radiance[i, c] * (texel[c] * diffuse + specular)
    for c in range(3):
        colour[c] = to_srgb[int(min(max(colour[c], 0.0), _BRIGHTEST) * _RESPONSE_STEPS + 0.5)]


@compiled
def _surface(w, a, b, c, normals, tangents, texel, tangent, normal):
    """Write the unit normal (3,) at a point: interpolated, then tilted by the normal map; tangent (3,) is scratch."""
    length_n, length_t, dot = 0.0, 0.0, 0.0
    for i in range(3):
        normal[i] = w[0] * normals[a, i] + w[1] * normals[b, i] + w[2] * normals[c, i]
        tangent[i] = w[0] * tangents[a, i] + w[1] * tangents[b, i] + w[2] * tangents[c, i]
        length_n += normal[i] * normal[i]
    length_n = 1.0 / max(np.sqrt(length_n), 1e-9)
    for i in range(3):
        normal[i] *= length_n
        dot += normal[i] * tangent[i]
    for i in range(3):
        tangent[i] -= dot * normal[i]
        length_t += tangent[i] * tangent[i]
    length_t = 1.0 / max(np.sqrt(length_t), 1e-9)
    for i in range(3):
        tangent[i] *= length_t
    sign = tangents[a, 3]
    bx = (normal[1] * tangent[2] - normal[2] * tangent[1]) * sign
    by = (normal[2] * tangent[0] - normal[0] * tangent[2]) * sign
    bz = (normal[0] * tangent[1] - normal[1] * tangent[0]) * sign
    mx, my = texel[3] / 127.5 - 1.0, texel[4] / 127.5 - 1.0
    mz = np.sqrt(max(1.0 - mx * mx - my * my, 0.01))
    n0 = normal[0] * mz + tangent[0] * mx + bx * my
    n1 = normal[1] * mz + tangent[1] * mx + by * my
    n2 = normal[2] * mz + tangent[2] * mx + bz * my
    q = 1.0 / np.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
    normal[0], normal[1], normal[2] = n0 * q, n1 * q, n2 * q


@compiled
def shade(
    near, triangle, box, order, step_of, grid_xy, inverse_z, positions, normals, tangents, uv, faces,
    pyramid, sides, detail, lights, radiance, sky, ground, up, to_linear, to_srgb,
    rgba, depth, normal_map,
):  # fmt: skip
    """Resolve samples (S H, S W) to pixels; order (S * S, 2) lists a pixel's samples from its centre outwards.

    step_of is a tuple of length S: its length is part of its type, so S is known when this is compiled, which is worth
    15 % of the time.

    Fills rgba (H, W, 4) premultiplied u8, depth (H, W) metres and normal_map (H, W, 3) i8.

    A pixel is shaded once, at its centre, where all its samples lie on one surface; else each covered sample is shaded.
    Depth and normal are those of the covered sample nearest the centre. normal_map may have no rows: then no normals
    are written.
    """
    rgba[:] = 0
    depth[:] = 0.0
    normal_map[:] = 0
    level = min(int(detail), sides.shape[0] - 1)
    finer = 0
    for i in range(level):
        finer += sides[i] * sides[i]
    coarser = finer + sides[level] * sides[level]
    blend = detail - level if level + 1 < sides.shape[0] else 0.0
    w, tangent, normal, view, colour, total = np.empty((6, 3))
    step = len(step_of)
    per_pixel = step * step
    texel = np.empty(6)
    for y in range(box[0] // step, box[1] // step + 1):
        for x in range(box[2] // step, box[3] // step + 1):
            covered = 0
            for i in range(y * step, (y + 1) * step):
                for j in range(x * step, (x + 1) * step):
                    covered += near[i, j] > 0.0
            if covered == 0:
                continue
            every = covered < per_pixel or (step == 3 and is_creased(near, y * step + 1, x * step + 1))
            total[:] = 0.0
            shaded = 0
            for k in range(per_pixel):
                gy, gx = y * step + order[k, 0], x * step + order[k, 1]
                t = triangle[gy, gx]
                if t < 0 or (shaded > 0 and not every):
                    continue
                a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                z = _weights(float(gx), float(gy), a, b, c, grid_xy, inverse_z, w)
                u = w[0] * uv[a, 0] + w[1] * uv[b, 0] + w[2] * uv[c, 0]
                v = w[0] * uv[a, 1] + w[1] * uv[b, 1] + w[2] * uv[c, 1]
                texel[:] = 0.0
                _fetch(pyramid, finer, sides[level], u, v, to_linear, texel, 1.0 - blend)
                if blend > 0.0:
                    _fetch(pyramid, coarser, sides[level + 1], u, v, to_linear, texel, blend)
                _surface(w, a, b, c, normals, tangents, texel, tangent, normal)
                length = 0.0
                for i in range(3):
                    view[i] = -(w[0] * positions[a, i] + w[1] * positions[b, i] + w[2] * positions[c, i])
                    length += view[i] * view[i]
                length = 1.0 / np.sqrt(length)
                for i in range(3):
                    view[i] *= length
                _light(texel, normal, view, lights, radiance, sky, ground, up, to_srgb, colour)
                for i in range(3):
                    total[i] += colour[i]
                if shaded == 0:
                    depth[y, x] = z
                    if normal_map.shape[0] > 0:
                        for i in range(3):
                            normal_map[y, x, i] = np.int8(np.floor(normal[i] * 127.0 + 0.5))
                shaded += 1
            share = covered / per_pixel
            for i in range(3):
                rgba[y, x, i] = np.uint8(np.floor(total[i] / shaded * share + 0.5))
            rgba[y, x, 3] = np.uint8(np.floor(255.0 * share + 0.5))
