from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder import Sample, generate
from aih_builder.config import Manifest, parse_manifest
from aih_builder.config.look import CameraEffects
from aih_builder.errors import ConfigError
from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import grown
from aih_builder.invariants import violations
from aih_builder.sample import hdr_masks
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.synth.camera_effects import photographed
from aih_builder.synth.camera_settings import (
    NEUTRAL,
    CameraSettings,
    blur_kernel,
    draw_settings,
    linear_of,
    srgb_of,
)
from aih_builder.synth.compose import Composite
from aih_builder.synth.engine import Tally
from tests.builders import small_content, small_manifest, with_counts

OFF = {"exposure_ev", "white_balance_mired", "vignette", "defocus_px", "motion_px", "iso", "contrast"}
BOTH = np.ones(2, bool)
SEEDS = st.integers(0, 2**32 - 1)


def only(*names: str) -> CameraEffects:
    """The default effects of these names, all others off."""
    return CameraEffects.model_validate(dict.fromkeys(OFF - set(names)))


def scene(seed: int, height: int, width: int) -> tuple[Composite, np.ndarray]:
    """Random pictures that differ inside boxes, and the background."""
    rng = np.random.default_rng(seed)

    def colours(rows: int, columns: int) -> np.ndarray:
        return rng.integers(0, 256, (rows, columns, 3), np.uint8)

    background = colours(height, width)
    image, targets, masks = background.copy(), np.stack([background] * 2), np.zeros((2, height, width), bool)
    for hand in range(2):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        bottom, right = int(rng.integers(top, height)) + 1, int(rng.integers(left, width)) + 1
        masks[hand, top:bottom, left:right] = True
        patch = colours(bottom - top, right - left)
        image[top:bottom, left:right] = targets[hand, top:bottom, left:right] = patch
    targets[0][masks[0] & ~masks[1]] = image[masks[0] & ~masks[1]]
    visible = np.stack([masks[0] & ~masks[1], masks[1]])
    changed = (targets != image).any(axis=3) | visible[::-1]
    return Composite(image, targets, changed, masks, visible, np.zeros_like(masks)), background


def taken(
    chosen: CameraSettings, composite: Composite, background: np.ndarray, seed: int = 0
) -> tuple[Composite, np.ndarray]:
    rng = np.random.default_rng(seed)
    return photographed(chosen, rng, composite, background, BOTH, composite.visible_mask[::-1])


def picture_of(chosen: CameraSettings, picture: np.ndarray, seed: int = 0) -> np.ndarray:
    """One picture through the camera."""
    nothing = np.zeros((2, *picture.shape[:2]), bool)
    alike = Composite(picture, np.stack([picture] * 2), nothing, nothing, nothing, nothing)
    found, background = taken(chosen, alike, picture, seed)
    assert np.array_equal(background, found.image_rgb)
    assert not found.changed_mask.any()
    return found.image_rgb


@settings(max_examples=60)
@given(SEEDS, st.integers(2, 40), st.integers(2, 40), st.floats(0, 3), st.floats(0, 6))
def test_pictures_are_equal_to_the_byte_beyond_the_blur_s_reach_and_each_is_developed_alike(
    seed: int, height: int, width: int, defocus: float, motion: float
) -> None:
    """Worked out in a box or as a whole, beside others or alone: the same bytes, with the same noise."""
    composite, background = scene(seed, height, width)
    chosen = draw_settings(np.random.default_rng(seed), CameraEffects(), 256)
    chosen = chosen._replace(defocus_px=defocus, motion_px=motion)
    found, seen = taken(chosen, composite, background, seed)
    pictures = ((composite.image_rgb, found.image_rgb), *zip(composite.target_rgb, found.target_rgb, strict=True))
    for before, after in (*pictures, (background, seen)):
        assert np.array_equal(picture_of(chosen, before, seed), after)
    reach = ceil(defocus + motion / 2)
    for hand in range(2):
        differs = (found.target_rgb[hand] != found.image_rgb).any(axis=2)
        assert np.array_equal(found.changed_mask[hand], differs | composite.visible_mask[1 - hand])
        assert not (found.changed_mask[hand] & ~grown(composite.changed_mask[hand], reach)).any()


def test_a_camera_without_effects_keeps_every_level_and_every_byte() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    assert np.array_equal(picture_of(NEUTRAL, levels), levels)
    composite, background = scene(3, 30, 40)
    drawn = draw_settings(np.random.default_rng(0), only(), 256)
    found, seen = taken(drawn, composite, background)
    assert np.array_equal(found.image_rgb, composite.image_rgb)
    assert np.array_equal(found.target_rgb, composite.target_rgb)
    assert np.array_equal(found.changed_mask, composite.changed_mask)
    assert np.array_equal(seen, background)
    assert (drawn.noise_level, drawn.defocus_px, drawn.motion_px) == (0, 0, 0)


def test_the_target_of_an_absent_hand_is_left_as_it_is() -> None:
    composite, background = scene(4, 20, 20)
    chosen = draw_settings(np.random.default_rng(0), CameraEffects(), 256)
    present, rng = np.array([True, False]), np.random.default_rng(0)
    found, _ = photographed(chosen, rng, composite, background, present, composite.visible_mask[::-1])
    assert np.array_equal(found.target_rgb[1], composite.target_rgb[1])
    assert not np.array_equal(found.target_rgb[0], composite.target_rgb[0])


@pytest.mark.parametrize("iso", [100, 800, 3200])
@pytest.mark.parametrize("level", [40, 128, 200])
def test_the_noise_s_variance_is_that_of_photons_and_of_the_read_out(iso: int, level: int) -> None:
    """In linear light x, a x + b; alike in all channels; neighbours are alike, farther pixels are not."""
    chosen = draw_settings(np.random.default_rng(0), only("iso").model_copy(update={"iso": (iso, iso)}), 256)
    flat = np.full((256, 256, 3), level, np.uint8)
    noisy = picture_of(chosen, flat).astype(float)
    light, x = linear_of(noisy / 255), float(linear_of(np.array(level / 255)))
    rounding = (float(linear_of(np.array((level + 1) / 255))) - x) ** 2 / 12  # of levels
    assert chosen.shot == pytest.approx(iso / 2_000_000)
    expected = chosen.shot * x + chosen.read
    assert light.var(axis=(0, 1)) == pytest.approx(expected + rounding, rel=0.04)
    assert light.mean() == pytest.approx(x, abs=4 * np.sqrt(expected * 2.5**2 / light.size) + 1e-5)
    away = light - light.mean()
    likeness = [float((away[:, :-k] * away[:, k:]).mean() / expected) for k in (1, 2, 3)]
    assert likeness[0] == pytest.approx(10 / 27, abs=0.05)
    assert abs(likeness[2]) < 0.03
    channels = np.corrcoef(away.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.03
    if level == 128:
        assert noisy.std() == pytest.approx(np.hypot(chosen.noise_level, np.sqrt(1 / 12)), rel=0.04)


@given(st.floats(0, 6), st.floats(0, 16), st.floats(0, np.pi))
def test_a_blur_keeps_the_light_and_its_reach(defocus: float, motion: float, turn: float) -> None:
    kernel = blur_kernel(defocus, motion, turn)
    assert kernel.sum(dtype=float) == pytest.approx(1, abs=1e-6)
    assert kernel.shape[0] // 2 <= ceil(defocus + motion / 2)
    assert (kernel >= 0).all()
    assert kernel == pytest.approx(kernel[::-1, ::-1], abs=0.05)  # masks are of the middle of the exposure
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    assert float((kernel * x).sum()) == pytest.approx(0, abs=0.05)
    if defocus < 1:
        return  # of few pixels: a line thinner than a pixel is as wide as those that it crosses
    along = (kernel * (x * np.cos(turn) + y * np.sin(turn)) ** 2).sum()
    assert along == pytest.approx(defocus**2 / 4 + motion**2 / 12, abs=0.35, rel=0.05)  # of a disc and of a line


@pytest.mark.parametrize("names", [{"defocus_px"}, {"motion_px"}, {"defocus_px", "motion_px"}])
def test_a_blur_is_recorded_where_it_moves_light_and_nowhere_else(names: set[str]) -> None:
    effects = only(*names).model_copy(update={"motion_share": 0.8})
    recorded = []
    for seed in range(300):
        chosen = draw_settings(np.random.default_rng(seed), effects, 128)
        blurs = np.count_nonzero(blur_kernel(chosen.defocus_px, chosen.motion_px, chosen.turn_rad)) > 1
        assert blurs == (chosen.defocus_px > 0 or chosen.motion_px > 0)
        recorded.append(blurs)
    assert 0.1 < np.mean(recorded) < 0.95


def test_a_bright_point_becomes_a_disc_of_the_same_light() -> None:
    point = np.zeros((21, 21, 3), np.uint8)
    point[10, 10] = 255
    disc = picture_of(NEUTRAL._replace(defocus_px=3.0), point)
    assert linear_of(disc[..., 0] / 255).sum() == pytest.approx(1, abs=0.01)
    reached = np.hypot(*(np.argwhere(disc[..., 0] > 0) - 10).T)
    assert 2.5 <= reached.max() <= 3 + np.sqrt(0.5)


def middle(picture: np.ndarray) -> np.ndarray:
    return linear_of(picture[8:-8, 8:-8].astype(float) / 255).mean(axis=(0, 1))


GREY = np.full((64, 64, 3), 100, np.uint8)


def test_exposure_changes_the_light_by_its_stops_and_never_burns_white_out() -> None:
    for stops in (-1.0, 1.0):
        effects = only("exposure_ev").model_copy(update={"exposure_ev": (stops, stops)})
        chosen = draw_settings(np.random.default_rng(0), effects, 256)
        assert chosen.gain_rgb == pytest.approx(2**stops)
        dark = np.full((64, 64, 3), 20, np.uint8)
        assert middle(picture_of(chosen, dark)) / middle(dark) == pytest.approx(2**stops, rel=0.05)
    levels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    lifted = picture_of(chosen, levels).reshape(-1, 3)[:, 0].astype(int)
    assert (np.diff(lifted) >= 0).all()
    assert lifted[240] < 255 == lifted[255]


def test_a_white_balance_above_0_is_warmer_and_keeps_the_luma() -> None:
    for mired, sign in ((25.0, 1), (-25.0, -1)):
        effects = only("white_balance_mired").model_copy(update={"white_balance_mired": (mired, mired)})
        red, green, blue = draw_settings(np.random.default_rng(0), effects, 256).gain_rgb.tolist()
        assert sign * (red - blue) > 0.1
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(1, abs=1e-5)


def test_a_vignette_takes_its_share_from_the_farthest_corner_alone() -> None:
    effects = only("vignette").model_copy(update={"vignette": (0.5, 0.5)})
    chosen = draw_settings(np.random.default_rng(0), effects, 256)._replace(centre=(0.25, 0.5))
    light = linear_of(picture_of(chosen, np.full((65, 65, 3), 200, np.uint8))[..., 0] / 255)
    light /= linear_of(np.array(200 / 255))
    assert light[0, -1] == pytest.approx(0.5, abs=0.01)
    assert np.unravel_index(light.argmax(), light.shape)[1] == pytest.approx(16, abs=4)
    assert light[32, 16] == pytest.approx(1, abs=0.01)


def test_contrast_moves_levels_away_from_the_middle_and_keeps_black_and_white() -> None:
    levels = np.repeat(np.array([0, 60, 128, 195, 255], np.uint8), 3).reshape(1, 5, 3).repeat(2, axis=0)
    black, low, mid, high, white = picture_of(NEUTRAL._replace(contrast=0.5), levels)[0, :, 0].tolist()
    assert (black, white) == (0, 255)
    assert low < 58
    assert high > 197
    assert abs(mid - 128) <= 1


def test_srgb_s_curve_and_its_inverse_meet() -> None:
    assert srgb_of(linear_of(np.arange(256) / 255)) * 255 == pytest.approx(np.arange(256), abs=1e-6)


def test_each_effect_alone_changes_a_picture_and_switching_one_moves_no_other() -> None:
    composite, background = scene(5, 48, 48)
    every = draw_settings(np.random.default_rng(8), CameraEffects(motion_share=1), 512)
    for name in OFF:
        alone = draw_settings(np.random.default_rng(8), only(name).model_copy(update={"motion_share": 1}), 512)
        found, _ = taken(alone, composite, background)
        assert not np.array_equal(found.image_rgb, composite.image_rgb), name
    for field, name in (("defocus_px", "defocus_px"), ("vignette", "vignette"), ("shot", "iso")):
        alone = draw_settings(np.random.default_rng(8), only(name), 512)
        assert getattr(alone, field) == getattr(every, field) > 0
    assert 0 < every.motion_px <= 8  # lengths are of 256 px
    shares = [draw_settings(np.random.default_rng(k), CameraEffects(), 256).motion_px > 0 for k in range(400)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.07)


def test_the_studio_s_preset_is_dark_sharp_and_still_and_gives_way_to_what_is_given() -> None:
    studio = CameraEffects.model_validate({"preset": "interhand", "iso": [100, 200]})
    assert studio.motion_px is None
    assert studio.exposure_ev is not None
    assert studio.exposure_ev[1] <= 0
    assert studio.iso == (100, 200)
    assert CameraEffects.model_validate(studio.model_dump(mode="json")) == studio


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"iso": [3200, 100]}, "look.camera.iso.*lowest and highest within 50 and 25600"),
        ({"defocus_px": [0, 40]}, "look.camera.defocus_px.*within 0 and 4"),
        ({"vignette": [float("nan"), 0.5]}, "look.camera.vignette"),
        ({"noise": [1, 2]}, "unknown key 'look.camera.noise'"),
        ({"preset": "interhands"}, "look.camera.preset.*interhand"),
    ],
)
def test_impossible_cameras_are_refused(camera: dict, message: str, tmp_path) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_manifest(small_content(look={"camera": camera}), where="it", folder=tmp_path)


def strong(**changes) -> Manifest:
    """Small pictures, on which the blur is set as long as at 256 px."""
    camera = {"defocus_px": [0, 4], "motion_px": [0, 10], "motion_share": 0.5, "iso": [100, 12800]}
    return small_manifest(image_size_px=96, renderer="numba", look={"camera": camera}, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Sample, Sample]]:
    """Samples with every effect, and the same ones without a camera."""
    fields, pairs = ["depth", "background_rgb"], []
    manifests = (strong(fields=fields), small_manifest(image_size_px=96, renderer="numba", fields=fields))
    engines = [
        engine_for(make_plan(manifest, tmp_path_factory.mktemp("plan") / "dataset"), "render") for manifest in manifests
    ]
    for number in range(60):
        index = index_of(SampleName("render", "train", number))
        pairs.append(tuple(engine.make(index, Tally()) for engine in engines))
    return pairs


def test_every_invariant_holds_with_every_effect(made: list[tuple[Sample, Sample]]) -> None:
    for sample, _ in made:
        assert violations(sample) == []
        for hand in np.flatnonzero(sample.target_valid):
            masks = hdr_masks(sample, int(hand))
            differs = (sample.target_rgb[hand] != sample.image_rgb).any(axis=2)
            assert np.array_equal(sample.changed_mask[hand], differs | masks.M_D | masks.M_R)
    assert min(max(s.defocus_px for s, _ in made), max(s.motion_px for s, _ in made)) > 1
    assert len({s.noise_level for s, _ in made}) > 50


def test_a_camera_changes_pictures_and_nothing_else(made: list[tuple[Sample, Sample]]) -> None:
    for seen, plain in made:
        assert not np.array_equal(seen.image_rgb, plain.image_rgb)
        for name in ("amodal_mask", "visible_mask", "occlusion_rate", "joints_px", "depth", "attempt", "texture_id"):
            assert np.array_equal(getattr(seen, name), getattr(plain, name)), name


def test_two_workers_make_the_bytes_of_one(tmp_path) -> None:
    manifest = strong(**with_counts(train=4, val=0, test=2))
    for jobs in (1, 2):
        generate(manifest, tmp_path / str(jobs), jobs=jobs)
    names = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*.h5"))
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
