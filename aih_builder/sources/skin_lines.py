"""Long lines on skin: palm lines, wrist creases, veins and tendons, drawn as splines in the plane of the palm.

Curves live in (x, z) of the palm frame, mm: x towards the fingers, z towards the thumb.
"""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.skin_anatomy import Skin, bump, smoothstep
from aih_builder.sources.skin_features import draw_seed, line_profile, wobble
from aih_builder.sources.skin_noise import noise

_INDEX, _MIDDLE, _RING, _LITTLE = (FINGERS[n] for n in ("index", "middle", "ring", "little"))
_WRIST = 0

# Knots (joint, x, z), mm from that joint, then width in mm and strength.
_PALM_LINES = (
    (  # around the ball of the thumb
        ((_INDEX, -17, 11), (_INDEX, -26, -4), (_INDEX, -43, -15), (_WRIST, 30, -6), (_WRIST, 9, -2)),
        (0.6, 1.0),
    ),
    (  # the head line
        ((_INDEX, -17, 11), (_INDEX, -23, -5), (_MIDDLE, -32, -9), (_RING, -42, -8), (_LITTLE, -48, 0)),
        (0.5, 0.85),
    ),
    (  # the heart line
        ((_LITTLE, -14, -11), (_LITTLE, -13, 4), (_RING, -14, 3), (_MIDDLE, -9, 0), (_MIDDLE, 3, 10)),
        (0.55, 0.9),
    ),
)
_WRIST_CREASES = (-1.5, -7.0)


def palm_lines(skin: Skin, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Palm lines and wrist creases (N,), 0 to 1, and the broad flush along the main lines (N,)."""
    points, joints = skin.points, skin.anatomy.joints
    flat = points[:, [0, 2]] + 1.3 * np.stack([wobble(skin, rng), wobble(skin, rng)], axis=1)
    palm = smoothstep(-skin.dorsal, 0.0, 0.45) * (1 - smoothstep(points[:, 0], 106.0, 114.0))
    drawn, flush = np.zeros(len(points)), np.zeros(len(points))
    for table, (width, strength) in _PALM_LINES:
        knots = np.array([joints[j, [0, 2]] + [x, z] for j, x, z in table])
        knots += rng.normal(0.0, 1.1, knots.shape)
        far, along = curve_distance(flat, spline(knots))
        ends = np.clip(np.minimum(along / 0.06, (1 - along) / 0.22), 0.0, 1.0) * palm
        patchy = np.clip(0.85 + 0.25 * noise(points, 6.0, draw_seed(rng)), 0.2, 1.1)
        line = strength * line_profile(far, width, skin.texel_mm) * ends * patchy
        drawn = np.maximum(drawn, line)
        flush = np.maximum(flush, bump(far, 3.0) * ends)
    minor = _minor_lines(skin, flat, rng) * palm
    return np.maximum(np.maximum(drawn, minor), _wrist_creases(skin, flat, rng)), flush


def _minor_lines(skin: Skin, flat: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A dozen short faint lines strewn over the palm (N,)."""
    drawn = np.zeros(len(flat))
    for _ in range(int(rng.integers(10, 17))):
        middle = np.array([rng.uniform(18, 90), rng.uniform(-28, 24)])
        angle, length = rng.uniform(0, np.pi), rng.uniform(6.0, 18.0)
        half = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
        knots = np.array([middle - half, middle + rng.normal(0, 0.8, 2), middle + half])
        far, along = curve_distance(flat, spline(knots))
        faint = rng.uniform(0.2, 0.5) * np.clip(np.minimum(along, 1 - along) / 0.3, 0, 1)
        drawn = np.maximum(drawn, faint * line_profile(far, 0.4, skin.texel_mm))
    return drawn


def _wrist_creases(skin: Skin, flat: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Two bowed creases across the inner wrist (N,)."""
    drawn = np.zeros(len(flat))
    inner = smoothstep(-skin.dorsal, 0.1, 0.55)
    for at in _WRIST_CREASES:
        bow = 2.0 * np.cos(skin.points[:, 2] * 0.09) + rng.normal(0.0, 0.8)
        line = line_profile(flat[:, 0] - at - bow, 0.55, skin.texel_mm)
        drawn = np.maximum(drawn, rng.uniform(0.5, 0.8) * line * inner)
    return drawn


def veins(skin: Skin, rng: np.random.Generator) -> FloatArray:
    """Veins of the back of the hand (N,), 0 to 1."""
    points = skin.points
    wave = [noise(points, 19.0, draw_seed(rng)) for _ in range(2)]
    flat = points[:, [0, 2]] + 1.4 * np.stack(wave, axis=1)
    drawn = np.zeros(len(points))
    for curve, width, strength in _vein_curves(skin.anatomy.joints, rng):
        far, along = curve_distance(flat, curve)
        ends = smoothstep(along, -0.02, 0.2) * (1 - 0.3 * smoothstep(along, 0.9, 1.0))
        drawn = np.maximum(drawn, strength * ends * bump(far, width))
    deep = np.clip(0.7 + 0.35 * noise(points, 22.0, draw_seed(rng)), 0.05, 1.1)
    back = smoothstep(skin.dorsal, 0.35, 0.8)
    return drawn * deep * back * (1 - smoothstep(points[:, 0], 84.0, 98.0))


def _vein_curves(joints: FloatArray, rng: np.random.Generator) -> list[tuple[FloatArray, float, float]]:
    """Curve, width in mm and strength of each vein.

    They rise between the knuckles and run into two trunks, which leave the back along the forearm; a branch meets a
    trunk at a sharp angle, as streams meet, and bends into its direction.
    """
    index, middle, ring, little = (joints[n, [0, 2]] for n in (_INDEX, _MIDDLE, _RING, _LITTLE))
    trunks = [
        _swaying(np.array([(index + middle) / 2 - (3, 0), [48, 14], [10, 17], [-50, 9]]), 2.5, rng),
        _swaying(np.array([(ring + little) / 2 - (3, 0), [52, -17], [14, -15], [-50, -8]]), 2.5, rng),
    ]
    curves = [(trunk, rng.uniform(1.5, 2.0), 0.9) for trunk in trunks]
    side = int(rng.integers(2))
    for start, trunk, where in (
        ((middle + ring) / 2 - (3, 0), trunks[side], rng.uniform(0.38, 0.52)),
        (index - (16, -13), trunks[0], rng.uniform(0.5, 0.65)),
        (little - (14, 9), trunks[1], rng.uniform(0.45, 0.6)),
    ):
        curves.append((_into(start, trunk, where, rng), rng.uniform(1.1, 1.5), 0.8))
    over = trunks[side][int(rng.uniform(0.2, 0.3) * 400)]
    curves.append((_into(over, trunks[1 - side], rng.uniform(0.5, 0.62), rng), 1.2, 0.75))
    for _ in range(4):  # thin branches
        trunk = trunks[int(rng.integers(2))]
        place = rng.uniform(0.45, 0.85)
        start = trunk[int((place - 0.22) * 400)] + rng.normal(0.0, 9.0, 2)
        curves.append((_into(start, trunk, place, rng), 0.9, rng.uniform(0.25, 0.6)))
    return curves


def _swaying(knots: FloatArray, sway_mm: float, rng: np.random.Generator) -> FloatArray:
    """A curve (400, 2) through knots that are moved a little, the first one less."""
    moved = knots + rng.normal(0.0, sway_mm, knots.shape) * np.array([[0.4], *[[1.0]] * (len(knots) - 1)])
    return spline(moved)


def _into(start: FloatArray, trunk: FloatArray, where: float, rng: np.random.Generator) -> FloatArray:
    """A curve from a point to a place on a trunk (0 to 1), whose direction it takes on."""
    end, before = trunk[int(where * 400)], trunk[max(int(where * 400) - 45, 0)]
    lead = 0.55 * before + 0.45 * end + 0.16 * (start - end)
    return spline(np.array([start, 0.55 * start + 0.45 * lead + rng.normal(0.0, 1.8, 2), lead, end]))


def tendons(skin: Skin) -> FloatArray:
    """The cords from the wrist to the knuckles (N,), 0 to 1: ridges of the back of the hand."""
    points, joints = skin.points, skin.anatomy.joints
    flat, drawn = points[:, [0, 2]], np.zeros(len(points))
    for joint in (_INDEX, _MIDDLE, _RING, _LITTLE):
        x, z = joints[joint, [0, 2]]
        cord = spline(np.array([[x - 3, z], [0.62 * x, 0.72 * z], [0.3 * x, 0.42 * z], [4.0, 0.3 * z]]))
        far, along = curve_distance(flat, cord)
        # Highest just behind the knuckle; they sink towards the wrist.
        high = smoothstep(along, 0.02, 0.14) * (1 - 0.85 * smoothstep(along, 0.3, 0.95))
        drawn = np.maximum(drawn, high * bump(far, 2.3))
    return drawn * smoothstep(skin.dorsal, 0.3, 0.75)


def spline(knots: FloatArray, count: int = 400) -> FloatArray:
    """Points (count, 2) along a smooth curve through the knots (K, 2): centripetal-free Catmull-Rom."""
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    u = np.linspace(0, len(knots) - 1, count)
    i = np.minimum(u.astype(int), len(knots) - 2)
    t = (u - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def curve_distance(points: FloatArray, curve: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance (N,) of 2D points to a polyline (C, 2), 99 where above 12 mm, and the place along it, 0 to 1."""
    return _curve_distance(np.ascontiguousarray(points), np.ascontiguousarray(curve), 12.0)


@compiled
def _curve_distance(points, curve, limit):
    low0, low1 = curve[:, 0].min() - limit, curve[:, 1].min() - limit
    high0, high1 = curve[:, 0].max() + limit, curve[:, 1].max() + limit
    far = np.full(points.shape[0], 99.0)
    along = np.zeros(points.shape[0])
    last = curve.shape[0] - 1
    for n in range(points.shape[0]):
        x, y = points[n, 0], points[n, 1]
        if x < low0 or x > high0 or y < low1 or y > high1:
            continue
        best, where = 1e18, 0
        for c in range(0, last + 1, 8):  # coarse, then fine around the best
            d = (curve[c, 0] - x) ** 2 + (curve[c, 1] - y) ** 2
            if d < best:
                best, where = d, c
        for c in range(max(0, where - 8), min(last, where + 8)):
            ex, ey = curve[c + 1, 0] - curve[c, 0], curve[c + 1, 1] - curve[c, 1]
            t = ((x - curve[c, 0]) * ex + (y - curve[c, 1]) * ey) / max(1e-12, ex * ex + ey * ey)
            t = min(1.0, max(0.0, t))
            d = (curve[c, 0] + t * ex - x) ** 2 + (curve[c, 1] + t * ey - y) ** 2
            if d <= best:
                best = d
                along[n] = (c + t) / last
        if best < limit * limit:
            far[n] = np.sqrt(best)
    return far, along
