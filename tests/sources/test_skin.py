import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from scipy import ndimage

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.landmarks import anatomy
from aih_builder.imaging import ImageU8
from aih_builder.sample import SPECS
from aih_builder.sources.pools import split_of
from aih_builder.sources.skin import Bakery, Person, draw_person, open_hand_nails, set_id
from aih_builder.sources.skin_atlas import fill_gutters, make_atlas
from aih_builder.sources.skin_hair import hair
from aih_builder.sources.skin_noise import cells, fbm, noise, spots
from aih_builder.sources.skin_relief import Relief
from aih_builder.sources.texture_set import TextureSet

DARK_TONES = (8, 9, 10)


@cache
def hand() -> HandArrays:
    return open_hand()


@cache
def bakery(size_px: int = 256) -> Bakery:
    return Bakery(hand(), open_hand_nails(), size_px)


@cache
def person(tone: int, number: int = 1, size_px: int = 256) -> TextureSet:
    return bakery(size_px).bake_person(Person(tone, number, age=30, hair=20), seed=3)


def texels(texture: TextureSet, side: int, size_px: int = 256) -> FloatArray:
    """Colours (N, 3) of the texels that carry skin."""
    return texture.albedo_rgb[side].reshape(-1, 3)[bakery(size_px).skin.atlas.index].astype(float)


def luminance(rgb: FloatArray) -> FloatArray:
    return (rgb / 255.0) ** 2.2 @ [0.2126, 0.7152, 0.0722]


def creases_of(texture: TextureSet) -> ImageU8:
    assert texture.creases is not None
    return texture.creases


def digest(texture: TextureSet) -> str:
    arrays = (texture.albedo_rgb, texture.normal_rgb, texture.roughness, creases_of(texture))
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def test_a_set_has_the_same_bytes_with_one_and_two_threads_in_another_process() -> None:
    expected = digest(Bakery(hand(), open_hand_nails(), 128).bake_person(Person(6, 2, age=70, hair=60), seed=1))
    code = (
        "import hashlib\n"
        "from aih_builder.hands.arrays import open_hand\n"
        "from aih_builder.sources.skin import Bakery, Person, open_hand_nails\n"
        "t = Bakery(open_hand(), open_hand_nails(), 128).bake_person(Person(6, 2, age=70, hair=60), seed=1)\n"
        "parts = (t.albedo_rgb, t.normal_rgb, t.roughness, t.creases)\n"
        "print(hashlib.sha256(b''.join(p.tobytes() for p in parts)).hexdigest())\n"
    )
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_a_set_does_not_depend_on_what_was_baked_before() -> None:
    fresh = Bakery(hand(), open_hand_nails(), 128)
    fresh.bake_person(Person(2, 1, age=80, hair=100), seed=0)
    assert digest(fresh.bake_person(Person(9, 4, age=30, hair=20), seed=3)) == digest(person(9, 4, 128))


def test_left_and_right_share_a_palette_but_no_detail() -> None:
    texture, skin = person(4), bakery().skin
    means, details = [], []
    for side in (0, 1):
        image = texture.albedo_rgb[side].astype(float).sum(axis=2)
        details.append((image - ndimage.gaussian_filter(image, 3.0)).ravel()[skin.atlas.index])
        means.append(texels(texture, side).mean(axis=0))
    plain = skin.atlas.inside & (skin.nail < 0.01) & (skin.nail_rim < 0.01)
    assert np.abs(means[0] - means[1]).max() < 3.0
    assert np.corrcoef(details[0][plain], details[1][plain])[0, 1] < 0.5


def test_persons_of_one_tone_differ_in_palette() -> None:
    means = [texels(person(5, number, 128), 0, 128).mean(axis=0) for number in (1, 2, 3)]
    assert min(np.abs(a - b).max() for a, b in pairwise(means)) > 0.5


@pytest.mark.parametrize("number", [1, 2])
def test_tones_are_ordered_by_luminance(number: int) -> None:
    light = [luminance(texels(person(tone, number, 128), 0, 128)).mean() for tone in range(1, 11)]
    assert (np.diff(light) < 0).all()


@pytest.mark.parametrize("tone", DARK_TONES)
def test_palms_of_dark_hands_are_much_lighter_than_their_backs(tone: int) -> None:
    skin = bakery().skin
    light = luminance(texels(person(tone), 0))
    on_hand = (skin.points[:, 0] > 15) & (skin.nail < 0.1)
    palm, back = light[on_hand & (skin.dorsal < -0.7)], light[on_hand & (skin.dorsal > 0.7)]
    assert palm.mean() > 1.6 * back.mean()


def test_every_finger_has_a_nail_that_stands_out_on_dark_skin() -> None:
    skin, light = bakery().skin, luminance(texels(person(10), 1))
    for first in FINGERS.values():
        mine = (skin.fingers[first] > 0.9) & (skin.dorsal > 0.3)
        nail, around = mine & (skin.nail > 0.9), mine & (skin.nail < 0.05)
        area_mm2 = 1e6 * skin.atlas.texel_m[nail & skin.atlas.inside].prod(axis=1).sum()
        assert 40 < area_mm2 < 220
        assert light[nail].mean() > 2 * light[around].mean()


def test_nails_are_glossier_than_skin_and_skin_is_not_plastic() -> None:
    skin = bakery().skin
    rough = bakery().relief(0, 24).roughness.ravel()[skin.atlas.index] / 255.0
    assert rough[skin.nail > 0.95].mean() < 0.45
    assert np.percentile(rough[skin.nail < 0.05], 1) > 0.5
    assert np.percentile(rough[skin.nail < 0.05], 99) < 0.75


def test_gutters_are_filled_and_known_texels_kept() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (37, 37, 2))
    known = rng.uniform(size=(37, 37)) < 0.1
    filled = fill_gutters(image, known)
    assert np.array_equal(filled[known], image[known])
    assert filled.min() >= 1
    assert filled.max() <= 2


def test_both_hands_have_the_same_anatomy() -> None:
    right, left = anatomy(hand()), anatomy(hand().mirrored())
    for name in ("joints", "bones", "dorsal", "lateral"):
        assert np.allclose(getattr(right, name), getattr(left, name), atol=1e-9)
    assert (right.joints[FINGERS["thumb"]] * [0, 0, 1]).sum() > 0


def test_noise_is_centred_has_unit_spread_and_is_continuous() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (40_000, 3))
    for values in (noise(points, 3.0, 1), fbm(points, 3.0, 1, 4)):
        assert abs(values.mean()) < 0.05
        assert values.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(noise(points + 1e-4, 3.0, 1) - noise(points, 3.0, 1)).max() < 1e-3
    assert abs(np.corrcoef(noise(points, 3.0, 1), noise(points, 3.0, 2))[0, 1]) < 0.03
    for bounded in (cells(points, 3.0, 1), spots(points, 3.0, 1, 0.5, 1.0)):
        assert bounded.min() >= 0
        assert bounded.max() <= 1


def test_a_hand_without_texture_in_the_unit_square_is_refused() -> None:
    with pytest.raises(AssetError, match="expected \\[0, 1\\]"):
        make_atlas(replace(hand(), uv=hand().uv + 0.5), 128)
    with pytest.raises(AssetError, match="nail map"):
        Bakery(hand(), open_hand_nails()[..., 0], 128)


def test_a_tone_outside_the_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 10"):
        bakery(128).bake_person(Person(11, 1, age=30, hair=0), seed=0)
    with pytest.raises(ConfigError, match="skin age is 81, expected 18 to 80 years"):
        bakery(128).bake_person(Person(1, 1, age=81, hair=0), seed=0)
    with pytest.raises(ConfigError, match="hair is 101 %"):
        bakery(128).bake_person(Person(1, 1, age=30, hair=101), seed=0)


def test_every_ten_numbers_give_each_tone_one_set_in_test_and_one_in_val_and_few_spread_them() -> None:
    for seed in (0, 7):
        people = [Person(tone, number, 30 + number, 10) for tone in range(1, 11) for number in range(1, 11)]
        found = {person[:2]: split_of(set_id(person, seed, 512)) for person in people}
        for tone in range(1, 11):
            of_tone = [found[tone, n] for n in range(1, 11)]
            assert of_tone.count("test") == of_tone.count("val") == 1
        for split in ("test", "val"):
            first = [tone for n in (1, 2, 3, 4) for tone in range(1, 11) if found[tone, n] == split]
            assert len(first) == 4
            assert sum(tone <= 5 for tone in first) == 2


def test_ids_name_all_that_a_set_depends_on_and_fit_the_record() -> None:
    persons = [Person(*p) for p in product((1, 2), (1, 2), (18, 80), (0, 100))]
    ids = {set_id(p, s, px) for p, s, px in product(persons, (1, 2**32 - 1), (256, 2048))}
    assert len(ids) == 64
    longest = set_id(Person(10, 999, 80, 100), 2**32 - 1, 2048)
    assert len(longest.encode()) <= SPECS["texture_id"].max_bytes


def test_persons_fill_the_ranges_that_are_asked_for() -> None:
    drawn = [draw_person(5, number, 0, (18, 80), (0.0, 1.0)) for number in range(400)]
    ages, hairs = np.array([p.age for p in drawn]), np.array([p.hair for p in drawn])
    assert (ages.min(), ages.max()) == (18, 80)
    assert np.percentile(ages, [25, 75]) == pytest.approx([34, 64], abs=5)
    assert hairs.max() > 95
    assert np.median(hairs) < 40
    narrow = [draw_person(5, number, 0, (40, 41), (0.5, 0.5)) for number in range(20)]
    assert {p.age for p in narrow} == {40, 41}
    assert {p.hair for p in narrow} == {50}


def flat_normals(relief: Relief) -> FloatArray:
    """How far the normals of each texel of skin lean (N,)."""
    coded = relief.normal_rgb.reshape(-1, 3)[bakery().skin.atlas.index] / 127.5 - 1
    return np.hypot(coded[:, 0], coded[:, 1])


def test_old_skin_is_rougher_spottier_and_yellower_in_its_nails() -> None:
    skin = bakery().skin
    plain = (skin.nail < 0.01) & (skin.dorsal > 0.5) & (skin.points[:, 0] > 10)
    lean = [flat_normals(bakery().relief(0, age))[plain].mean() for age in (24, 48, 72)]
    assert lean[2] > 1.4 * lean[0]
    assert lean[0] < lean[1] < lean[2]
    young, old = (texels(bakery().bake_person(Person(3, 2, age, hair=0), seed=3), 0) for age in (20, 78))
    assert old[plain].std(axis=0).mean() > 1.1 * young[plain].std(axis=0).mean()
    nail = skin.nail > 0.95
    assert np.ptp(old[nail].mean(axis=0)[[0, 2]]) > np.ptp(young[nail].mean(axis=0)[[0, 2]]) + 8


def test_creases_lie_where_the_relief_and_the_albedo_have_grooves() -> None:
    skin = bakery(512).skin
    texture = bakery(512).bake_person(Person(2, 1, age=24, hair=0), seed=3)
    crease = creases_of(texture).ravel()[skin.atlas.index] / 255.0
    inner = (skin.dorsal < -0.5) & (skin.nail < 0.01) & (skin.points[:, 0] > 0)
    deep, none = inner & (crease > 0.5), inner & (crease < 0.02)
    assert deep.sum() > 300
    assert not crease[skin.nail > 0.99].any()
    light = luminance(texels(texture, 0, 512))
    assert light[deep].mean() < 0.93 * light[none].mean()
    flanks = inner & (crease > 0.2) & (crease < 0.6)
    lean = texture.normal_rgb.reshape(-1, 3)[skin.atlas.index] / 127.5 - 1
    lean = np.hypot(lean[:, 0], lean[:, 1])
    assert lean[flanks].mean() > 2 * lean[none].mean()


def test_hair_grows_on_the_back_and_by_its_density() -> None:
    skin = bakery(512).skin
    shares = [hair(skin, density, np.random.default_rng(0)) for density in (0.0, 0.4, 0.8)]
    assert not shares[0].any()
    assert shares[2].sum() == pytest.approx(2 * shares[1].sum(), rel=0.15)
    covered, points = shares[2], skin.points
    assert covered.min() >= 0
    assert covered.max() < 0.95
    assert not covered[skin.nail > 0.99].any()
    palm = (skin.dorsal < -0.3) & (points[:, 0] > 10)
    back = (skin.dorsal > 0.5) & (points[:, 0] > 10) & (points[:, 0] < 65)
    assert covered[palm].mean() < 0.02 * covered[back].mean()
    ulnar, radial = back & (points[:, 2] < -8), back & (points[:, 2] > 8)
    assert covered[ulnar].mean() > 2 * covered[radial].mean()
