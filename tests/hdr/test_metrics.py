import numpy as np
import pytest

from aih_builder.errors import AihError, SampleError
from aih_builder.hdr.metrics import mask_iou, region_error, ssim_map


def images(seed: int, size_hw: tuple[int, int] = (40, 56), noise: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth image and a noisy one."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    base = 120 + 90 * np.sin(x / 7)[..., None] * np.cos(y / 5)[..., None] * np.array([1.0, 0.6, -0.8])
    return tuple(np.clip(base + rng.normal(0, s, base.shape), 0, 255).astype(np.uint8) for s in (noise, 0.0))


def test_a_mask_meets_itself_and_not_its_complement() -> None:
    mask = np.random.default_rng(0).random((9, 11)) > 0.4
    assert (mask_iou(mask, mask), mask_iou(mask, ~mask), mask_iou(~mask, mask)) == (1.0, 0.0, 0.0)


def test_iou_of_overlapping_squares_is_the_one_worked_out_by_hand() -> None:
    found, true = np.zeros((2, 10, 10), bool)
    found[0:4, 0:4] = True  # 16
    true[2:6, 0:4] = True  # 16, of which 8 are shared
    assert mask_iou(found, true) == 8 / 24


def test_two_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    empty, some = np.zeros((3, 3), bool), np.eye(3, dtype=bool)
    assert (mask_iou(empty, empty), mask_iou(empty, some), mask_iou(some, empty)) == (1.0, 0.0, 0.0)


def test_masks_of_another_type_or_shape_are_refused() -> None:
    with pytest.raises(SampleError, match=r"found mask: expected bool \(3, 3\), got uint8"):
        mask_iou(np.ones((3, 3), np.uint8), np.ones((3, 3), bool))  # pyright: ignore[reportArgumentType]
    with pytest.raises(SampleError, match="found mask"):
        mask_iou(np.ones((1, 3), bool), np.ones((3, 3), bool))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size_hw", [(40, 56), (7, 13), (64, 64)])
def test_the_ssim_map_and_psnr_are_torchmetrics(seed: int, size_hw: tuple[int, int]) -> None:
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("torchmetrics.functional.image")
    found, true = images(seed, size_hw, noise=4.0 + 20 * seed)
    a, b = (torch.from_numpy(i / 255.0).permute(2, 0, 1)[None] for i in (found, true))
    mean, full = theirs.structural_similarity_index_measure(a, b, data_range=1.0, return_full_image=True)
    np.testing.assert_allclose(ssim_map(found, true), full[0].mean(dim=0).numpy(), atol=1e-9)
    error = region_error(found, true)
    assert error.ssim == pytest.approx(float(mean), abs=1e-4)
    assert error.psnr_db == pytest.approx(float(theirs.peak_signal_noise_ratio(a, b, data_range=1.0)), abs=1e-4)


def test_an_image_equals_itself_and_its_negative_is_far() -> None:
    image, _ = images(1)
    assert region_error(image, image) == pytest.approx((0.0, 100.0, 1.0, 40 * 56))
    far = region_error(255 - image, image)
    assert far.ssim < 0
    assert far.psnr_db < 10


def test_errors_outside_a_region_do_not_count_and_those_inside_are_worked_out_by_hand() -> None:
    true = np.full((30, 40, 3), 100, np.uint8)
    found = true.copy()
    found[:, :10] = 0  # away from the region, further than a window reaches
    found[20, 30] = (151, 100, 100)  # one channel of one of 50 pixels is 51 levels = 0.2 away
    region = np.zeros((30, 40), bool)
    region[20:25, 25:35] = True
    error = region_error(found, true, region)
    assert error.pixels == 50
    assert error.l1 == pytest.approx(0.2 / 150)
    assert error.psnr_db == pytest.approx(10 * np.log10(150 / 0.04))
    assert error.ssim == pytest.approx(ssim_map(found, true)[20:25, 25:35].mean())
    assert error == region_error(found, true, region, ssim=ssim_map(found, true))


def test_a_level_in_a_big_image_is_capped_like_none() -> None:
    true = np.zeros((256, 256, 3), np.uint8)
    found = true.copy()
    found[0, 0, 0] = 1
    assert region_error(found, true).psnr_db == 100.0


@pytest.mark.parametrize(
    ("found", "region", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool), "region: holds no pixel"),
        (np.zeros((4, 5, 3), np.uint8), np.ones((5, 4), bool), r"region: expected bool \(4, 5\)"),
        (np.zeros((4, 5, 3), np.float32), None, "found image: expected uint8"),
        (np.zeros((4, 4, 3), np.uint8), None, "found image"),
    ],
)
def test_what_cannot_be_compared_is_refused(found: np.ndarray, region: np.ndarray | None, message: str) -> None:
    with pytest.raises(AihError, match=message):
        region_error(found, np.zeros((4, 5, 3), np.uint8), region)
