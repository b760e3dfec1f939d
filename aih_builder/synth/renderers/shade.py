"""Shading and resolving of rasterized samples, as synth.renderers.base defines them."""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.imaging import DISPLAY_GAMMA, ImageU8, to_u8
from aih_builder.sources.texture_set import TextureSet
from aih_builder.synth.renderers.base import KNEE, HandDraw, RenderRequest
from aih_builder.synth.renderers.samples import is_creased
from aih_builder.synth.renderers.shade_chunk import (
    BESIDE_BLUE,
    BESIDE_GREEN,
    BESIDE_RED,
    CHUNK,
    NORMAL_X,
    OUT_BLUE,
    OUT_GREEN,
    OUT_RED,
    ROWS,
)
from aih_builder.synth.renderers.shade_light import add_fill, add_key, ambient, bend
from aih_builder.synth.renderers.shade_place import place
from aih_builder.synth.renderers.shade_texture import TO_LINEAR, fetch, levels_of

_RESPONSE_STEPS = 1 << 15  # of the table of output levels, per unit of linear colour
_BRIGHTEST = 4.0  # linear colour from which on the output is 255

_ONE, _TWO = np.uintp(1), np.uintp(2)


def _response(linear: np.ndarray) -> np.ndarray:
    """Output levels (float) of linear colour."""
    bent = KNEE + (1.0 - KNEE) * (1.0 - np.exp(-(linear - KNEE) / (1.0 - KNEE)))
    return 255.0 * np.where(linear <= KNEE, linear, bent) ** (1.0 / DISPLAY_GAMMA)


TO_SRGB = _response(np.arange(int(_BRIGHTEST * _RESPONSE_STEPS) + 1) / _RESPONSE_STEPS).astype(np.float32)


def texture_pyramid(texture: TextureSet, side: int) -> tuple[ImageU8, np.ndarray]:
    """All levels of one hand's maps, (texels, 7) u8: sRGB albedo, normal x and y, roughness, crease; and each level's
    side.

    Colour is averaged in linear light; the coarsest level has 8 texels a side.
    """
    albedo_rgb = texture.albedo_rgb[side]
    creases = np.zeros_like(texture.roughness) if texture.creases is None else texture.creases
    finest = np.concatenate(
        [albedo_rgb, texture.normal_rgb[..., :2], texture.roughness[..., None], creases[..., None]], axis=2
    )
    levels, sides = [finest.reshape(-1, 7)], [finest.shape[0]]
    linear, rest = TO_LINEAR[albedo_rgb], finest[..., 3:].astype(np.float32)
    while sides[-1] > 8:
        linear, rest = _halved(linear), _halved(rest)
        albedo = 255.0 * linear ** (1.0 / DISPLAY_GAMMA)
        levels.append(to_u8(np.concatenate([albedo, rest], axis=2)).reshape(-1, 7))
        sides.append(linear.shape[0])
    return np.concatenate(levels), np.array(sides, np.int64)


@compiled
def _halved(image):
    height, width, channels = image.shape[0] // 2, image.shape[1] // 2, image.shape[2]
    out = np.empty((height, width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                upper, lower = image[2 * y, 2 * x, c], image[2 * y + 1, 2 * x, c]
                total = upper + lower + image[2 * y, 2 * x + 1, c] + image[2 * y + 1, 2 * x + 1, c]
                out[y, x, c] = total * np.float32(0.25)
    return out


def level_of_detail(request: RenderRequest, hand: HandDraw) -> float:
    """The one level of the texture pyramid, as a fraction, that all of a hand is drawn with."""
    texels_per_m = hand.uv_per_m * hand.texture.albedo_rgb.shape[1]
    distance_m = max(float(hand.positions_m[:, 2].mean()), 1e-6)  # behind the camera nothing is drawn
    return max(0.0, float(np.log2(texels_per_m * distance_m / request.K_px[1, 1])))


@compiled
def shade(
    near, triangle, box, order, step_of, records, faces, ray, texels, sides, detail,
    lights, radiance, surroundings, to_srgb,
    pictures, rgba, beside, depth, normal_map,
):  # fmt: skip
    """Resolve samples (S H, S W) to pixels; order (S * S, 2) lists a pixel's samples from its centre outwards.

    step_of is a tuple of length S: its length is part of its type, so S is known when this is compiled, which is worth
    15 % of the time. So is that of pictures: 1, or 2 where a second picture, beside (H, W, 4), shows the hand in the
    other one's shade. Samples are looked at in box alone: first and last row, first and last column. records, ray and
    texels are what corner_records, rays and packed_texels give.

    Fills rgba (H, W, 4) premultiplied u8, depth (H, W) metres and normal_map (H, W, 3) i8.

    A pixel is shaded once, at its centre, where all its samples lie on one surface; else each covered sample is shaded.
    Depth and normal are those of the covered sample nearest the centre. normal_map may have no rows: then no normals
    are written.
    """
    rgba[:] = 0
    beside[:] = 0
    depth[:] = 0.0
    normal_map[:] = 0
    step = len(step_of)
    per_pixel = step * step
    top, left = box[0] // step, box[2] // step
    rows, columns = max(box[1] // step + 1 - top, 0), max(box[3] // step + 1 - left, 0)
    sums = np.zeros((len(pictures), rows, columns, 4), np.float32)
    levels = levels_of(sides, detail)
    # Samples wait in a chunk until it is full; then all are lit, and each adds its share to its pixel's sum.
    b = np.zeros(ROWS * CHUNK)
    pixel, share, first = np.empty(CHUNK, np.int64), np.empty(CHUNK), np.empty(CHUNK, np.bool_)
    n = np.uintp(0)
    for y in range(top, top + rows):
        for x in range(left, left + columns):
            covered = 0
            for i in range(np.uintp(y * step), np.uintp((y + 1) * step)):  # unsigned: see shade_chunk
                for j in range(np.uintp(x * step), np.uintp((x + 1) * step)):
                    covered += near[i, j] > 0.0
            if covered == 0:
                continue
            for picture in range(len(pictures)):
                sums[picture, y - top, x - left, 3] = 255.0 * covered / per_pixel
            every = covered < per_pixel or (step == 3 and is_creased(near, y * step + 1, x * step + 1))
            weight, number = 1.0 / per_pixel if every else 1.0, (y - top) * columns + x - left
            nearest = True
            for k in range(per_pixel):
                gy, gx = y * step + order[k, 0], x * step + order[k, 1]
                t = triangle[gy, gx]
                if t < 0:
                    continue
                z = place(n, float(gx), float(gy), t, faces, records, ray, b, pictures)
                pixel[n], share[n], first[n] = number, weight, nearest
                if nearest:
                    depth[y, x] = z
                    nearest = False
                n += _ONE
                if n == CHUNK:
                    _finish(b, n, pixel, share, texels, levels, lights, radiance, surroundings, to_srgb, pictures, sums)
                    _put_normals(b, n, pixel, first, top, left, columns, normal_map)
                    n = np.uintp(0)
                if not every:
                    break
    _finish(b, n, pixel, share, texels, levels, lights, radiance, surroundings, to_srgb, pictures, sums)
    _put_normals(b, n, pixel, first, top, left, columns, normal_map)
    for y in range(rows):
        for x in range(columns):
            for c in range(4):
                rgba[top + y, left + x, c] = np.uint8(sums[0, y, x, c] + np.float32(0.5))
                if len(pictures) == 2:
                    beside[top + y, left + x, c] = np.uint8(sums[1, y, x, c] + np.float32(0.5))


@compiled
def _finish(b, n, pixel, share, texels, levels, lights, radiance, surroundings, to_srgb, pictures, sums):
    """Light the first n samples of a chunk and add each one's share to its pixel."""
    fetch(b, n, texels, levels)
    bend(b)
    ambient(b, surroundings, pictures)
    for i in range(lights.shape[0]):
        if i == 0:
            add_key(b, lights[i], radiance[i], pictures)
        else:
            add_fill(b, lights[i], radiance[i], pictures)
    flat = sums[0].reshape(-1)
    for i in range(n):
        at, weight = np.uintp(4 * pixel[i]), share[i]
        flat[at] += weight * to_srgb[_bin(b[OUT_RED + i])]
        flat[at + _ONE] += weight * to_srgb[_bin(b[OUT_GREEN + i])]
        flat[at + _TWO] += weight * to_srgb[_bin(b[OUT_BLUE + i])]
    if len(pictures) == 2:
        flat = sums[1].reshape(-1)
        for i in range(n):
            at, weight = np.uintp(4 * pixel[i]), share[i]
            flat[at] += weight * to_srgb[_bin(b[BESIDE_RED + i])]
            flat[at + _ONE] += weight * to_srgb[_bin(b[BESIDE_GREEN + i])]
            flat[at + _TWO] += weight * to_srgb[_bin(b[BESIDE_BLUE + i])]


@compiled
def _bin(linear):
    """Where the response to a linear colour stands in its table."""
    return np.uintp(np.int64(min(max(0.0, linear), _BRIGHTEST) * _RESPONSE_STEPS + 0.5))


@compiled
def _put_normals(b, n, pixel, first, top, left, columns, normal_map):
    """Write the normals of samples that are the first of their pixel, if they are asked for."""
    if normal_map.shape[0] == 0:
        return
    for i in range(n):
        if first[i]:
            y, x = top + pixel[i] // columns, left + pixel[i] % columns
            for c in range(3):
                normal_map[y, x, c] = np.int8(np.floor(b[NORMAL_X + np.uintp(c) * CHUNK + i] * 127.0 + 0.5))
