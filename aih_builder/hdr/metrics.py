"""How good masks, filled-in pixels and poses are, and how sure that is. Plain numpy, float64.

Joints (..., 21, 3) are keypoints: the root is the wrist (0), the reference bone runs from it to the middle finger's
base (9). Lengths are millimetres, or free of scale where a function says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from aih_builder.errors import ConfigError, SampleError
from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8

ROOT, REFERENCE = 0, 9  # keypoints: the wrist, and the middle finger's base
PCK_THRESHOLDS_MM = np.linspace(0.0, 50.0, 51)
MAX_PSNR_DB = 100.0  # of identical pixels

_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5  # a window of 11
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_LEAST_BONE = 1e-6  # of a predicted hand, which may have collapsed
_LEAST_SPREAD = 1e-9  # of joints, relative to their distance from the origin: less is rounding
_DRAWS = 2**21  # group numbers that are held at a time


class RegionError(NamedTuple):
    """How far an image is from the true one inside a region."""

    l1: float  # mean absolute difference, 0 to 1
    psnr_db: float  # of the region's pixels; 100 where they are identical
    ssim: float  # mean of the SSIM map
    pixels: int


def mask_iou(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; 1 where both are empty. Raises SampleError."""
    for name, mask in (("found", found), ("true", true)):
        if mask.dtype != np.bool_ or mask.shape != true.shape:
            raise SampleError(f"{name} mask: expected bool {true.shape}, got {mask.dtype} {mask.shape}.")
    union = np.count_nonzero(found | true)
    return np.count_nonzero(found & true) / union if union else 1.0


def ssim_map(found_rgb: ImageU8, true_rgb: ImageU8) -> FloatArray:
    """Structural similarity at each pixel (H, W), mean over the channels. Raises SampleError.

    Wang et al. 2004: Gaussian window of 11 with sigma 1.5, K 0.01 and 0.03, data range 1, covariances of the
    population. The border is mirrored about its outermost pixel, which is not repeated, so that the map has the image's
    size. torchmetrics' full image map is the same, and it averages all of it; variances are cut off at 0 as there.
    """
    _check_images(found_rgb, true_rgb)
    x, y = found_rgb / 255.0, true_rgb / 255.0

    def smooth(values: FloatArray) -> FloatArray:
        return gaussian_filter(values, _SSIM_SIGMA, radius=_SSIM_RADIUS, mode="mirror", axes=(0, 1))

    mean_x, mean_y = smooth(x), smooth(y)
    variance_x = np.maximum(smooth(x * x) - mean_x**2, 0.0)
    variance_y = np.maximum(smooth(y * y) - mean_y**2, 0.0)
    covariance = smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    return (luminance * (2 * covariance + _SSIM_C2) / (variance_x + variance_y + _SSIM_C2)).mean(axis=2)


def region_error(
    found_rgb: ImageU8,
    true_rgb: ImageU8,
    region: NDArray[np.bool_] | None = None,
    *,
    ssim: FloatArray | None = None,
) -> RegionError:
    """L1, PSNR and SSIM of an image (H, W, 3) inside a region (H, W); the whole image where it is None.

    PSNR takes the region's pixels of all channels together. ssim is ssim_map of the two, where several regions are
    asked for. Raises SampleError for other shapes and for an empty region.
    """
    _check_images(found_rgb, true_rgb)
    region = np.ones(true_rgb.shape[:2], bool) if region is None else region
    if region.dtype != np.bool_ or region.shape != true_rgb.shape[:2]:
        raise SampleError(f"region: expected bool {true_rgb.shape[:2]}, got {region.dtype} {region.shape}.")
    pixels = int(np.count_nonzero(region))
    if pixels == 0:
        raise SampleError("region: holds no pixel, so there is no error to state. Leave such an image out.")
    away = (found_rgb[region].astype(np.float64) - true_rgb[region]) / 255.0
    square = float((away**2).mean())
    psnr_db = min(-10.0 * np.log10(square), MAX_PSNR_DB) if square > 0 else MAX_PSNR_DB
    ssim = ssim_map(found_rgb, true_rgb) if ssim is None else ssim
    return RegionError(float(np.abs(away).mean()), float(psnr_db), float(ssim[region].mean()), pixels)


def bone_length(joints: FloatArray) -> FloatArray:
    """Length of the reference bone (...) of joints (..., 21, 3), in their unit."""
    return np.linalg.norm(joints[..., REFERENCE, :] - joints[..., ROOT, :], axis=-1)


def root_relative(joints: FloatArray) -> FloatArray:
    """Joints (..., 21, 3) as seen from their wrist, in their unit."""
    return joints - joints[..., ROOT : ROOT + 1, :]


def with_bone_length(found: FloatArray, bone_mm: ArrayLike) -> FloatArray:
    """Joints (..., 21, 3) of any scale, root-relative, such that the reference bone is bone_mm (...) long.

    With one mean length for all hands this is the variant that asks nothing of the truth. A collapsed bone counts as
    1e-6 long. Raises SampleError where a length is not above 0.
    """
    found = np.asarray(found, np.float64)
    length_mm = np.asarray(bone_mm, np.float64)
    if not (length_mm > 0).all():
        raise SampleError(
            f"reference bone: lengths of {np.count_nonzero(~(length_mm > 0))} of {length_mm.size} hands are not above "
            "0 mm. Leave out hands whose wrist or middle finger's base is not known."
        )
    scale = length_mm / np.maximum(bone_length(found), _LEAST_BONE)
    return root_relative(found) * scale[..., None, None]


def with_true_scale(found: FloatArray, true: FloatArray) -> FloatArray:
    """Joints (..., 21, 3) of any scale, brought to the root and the reference bone's length of the true ones, in mm.

    Nothing is turned. This is how the authors' own scoring helper aligns. Raises SampleError as with_bone_length does.
    """
    true = np.asarray(true, np.float64)
    return with_bone_length(found, bone_length(true)) + true[..., ROOT : ROOT + 1, :]


def procrustes_aligned(found: FloatArray, true: FloatArray, valid: NDArray[np.bool_] | None = None) -> FloatArray:
    """Joints (..., J, 3) under the similarity that brings the valid ones (..., J) nearest to the true ones.

    Least squares over rotation, scale and translation, without reflection (Umeyama 1991). All joints are moved, the
    valid ones decide how; valid None means all. Raises SampleError below three valid joints and where all coincide.
    """
    found, true = np.asarray(found, np.float64), np.asarray(true, np.float64)
    counted = np.ones(true.shape[:-1], bool) if valid is None else np.broadcast_to(valid, true.shape[:-1])
    count = counted.sum(axis=-1)
    if (count < 3).any():
        raise SampleError(
            f"Procrustes: a hand has {count.min()} valid joints, expected at least 3. Leave such hands out."
        )
    weight, number = counted[..., None], count[..., None, None]
    found_middle = np.where(weight, found, 0.0).sum(axis=-2, keepdims=True) / number
    true_middle = np.where(weight, true, 0.0).sum(axis=-2, keepdims=True) / number
    from_middle = np.where(weight, found - found_middle, 0.0)
    to_middle = np.where(weight, true - true_middle, 0.0)
    spread = (from_middle**2).sum(axis=(-2, -1))
    farthest = np.abs(np.where(weight, found, 0.0)).max(axis=(-2, -1))
    if not (spread > (_LEAST_SPREAD * farthest) ** 2).all():
        raise SampleError(
            "Procrustes: a hand's valid joints all lie in one point, so no scale can be found. Leave it out."
        )
    left, singular, right = np.linalg.svd(np.swapaxes(from_middle, -1, -2) @ to_middle)
    signs = np.ones_like(singular)
    signs[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    turn = (left * signs[..., None, :]) @ right  # row vectors: to = from @ turn
    scale = (singular * signs).sum(axis=-1) / spread
    return scale[..., None, None] * ((found - found_middle) @ turn) + true_middle


def joint_errors_mm(found: FloatArray, true: FloatArray) -> FloatArray:
    """Euclidean distance of each joint (..., J) of found and true (..., J, 3), in their unit."""
    if found.shape != true.shape:
        raise SampleError(f"joints: found {found.shape}, true {true.shape}; expected one shape (..., 21, 3).")
    return np.linalg.norm(np.asarray(found, np.float64) - true, axis=-1)


def pck_curve(errors_mm: ArrayLike, thresholds_mm: ArrayLike = PCK_THRESHOLDS_MM) -> FloatArray:
    """Share of errors (any shape) at or below each threshold. Raises SampleError where there is no error."""
    errors = np.sort(np.asarray(errors_mm, np.float64), axis=None)
    if errors.size == 0:
        raise SampleError("PCK: got no errors, expected those of at least one valid joint.")
    return np.searchsorted(errors, np.asarray(thresholds_mm, np.float64), side="right") / errors.size


def auc(curve: ArrayLike, thresholds: ArrayLike) -> float:
    """Area under a curve over rising thresholds by trapezia, divided by their range: 0 to 1. Raises ConfigError."""
    height, along = np.asarray(curve, np.float64), np.asarray(thresholds, np.float64)
    _check_thresholds(along)
    if height.shape != along.shape:
        raise ConfigError(f"AUC: a curve {height.shape} over thresholds {along.shape}; expected one value for each.")
    return float(np.trapezoid(height, along) / (along[-1] - along[0]))


@dataclass(slots=True, eq=False)
class PoseScore:
    """Sums up errors of joints, 21 of one hand or 42 of two, sample by sample; memory does not grow."""

    joints: int = 21
    thresholds_mm: FloatArray = field(default_factory=lambda: PCK_THRESHOLDS_MM)
    samples: int = field(default=0, init=False)  # with at least one valid joint
    _sum_mm: FloatArray = field(init=False)  # (joints,)
    _count: NDArray[np.int64] = field(init=False)  # (joints,)
    _within: NDArray[np.int64] = field(init=False)  # first threshold that holds an error; one more for none

    def __post_init__(self) -> None:
        _check_thresholds(self.thresholds_mm)
        self._sum_mm = np.zeros(self.joints)
        self._count = np.zeros(self.joints, np.int64)
        self._within = np.zeros(len(self.thresholds_mm) + 1, np.int64)

    def add(self, errors_mm: FloatArray, valid: NDArray[np.bool_]) -> None:
        """Errors (..., joints) of one or more samples with their validity; what is invalid may hold anything.

        Raises SampleError for other shapes, and where a valid error is negative or not finite.
        """
        if errors_mm.shape != valid.shape or errors_mm.shape[-1:] != (self.joints,):
            raise SampleError(
                f"errors {errors_mm.shape}, validity {valid.shape}: expected both to be (..., {self.joints})."
            )
        errors, counted = errors_mm.reshape(-1, self.joints), valid.reshape(-1, self.joints).astype(bool)
        taken = np.where(counted, errors, 0.0)
        if not (np.isfinite(taken) & (taken >= 0)).all():
            raise SampleError(
                "errors: a valid joint's is negative or not finite. The prediction holds NaN or infinity."
            )
        self._sum_mm += taken.sum(axis=0)
        self._count += counted.sum(axis=0)
        rank = np.searchsorted(self.thresholds_mm, errors[counted], side="left")
        self._within += np.bincount(rank, minlength=len(self._within))
        self.samples += int(counted.any(axis=1).sum())

    @property
    def valid_joints(self) -> int:
        """Errors summed up so far."""
        return int(self._count.sum())

    def per_joint_mm(self) -> FloatArray:
        """Mean over samples of each joint (joints,); NaN for a joint that was never valid."""
        never = self._count == 0
        return np.where(never, np.nan, self._sum_mm / np.maximum(self._count, 1))

    def official_mm(self) -> float:
        """InterHand2.6M's mean: over samples for each joint first, then over the joints that were ever valid."""
        self._check_not_empty()
        return float(np.nanmean(self.per_joint_mm()))

    def pooled_mm(self) -> float:
        """Mean over all valid joints of all samples."""
        self._check_not_empty()
        return float(self._sum_mm.sum() / self.valid_joints)

    def pck(self) -> FloatArray:
        """Share of all valid errors at or below each threshold."""
        self._check_not_empty()
        return np.cumsum(self._within)[:-1] / self.valid_joints

    def auc(self) -> float:
        """Normalised area under pck()."""
        return auc(self.pck(), self.thresholds_mm)

    def _check_not_empty(self) -> None:
        if self.valid_joints == 0:
            raise SampleError("pose score: no valid joint was added, so there is no mean. Add samples first.")


def bootstrap_interval(
    values: ArrayLike,
    *,
    groups: Sequence[object] | NDArray | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> tuple[float, float]:
    """Percentile interval (low, high) of the mean of values (N,), by drawing them anew with replacement.

    groups has an id per value; whole groups are drawn, as values of one group (two hands of one image) say the same
    thing twice. Raises ConfigError.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise ConfigError(f"bootstrap: expected a row of finite values, got shape {numbers.shape}.")
    if resamples < 1 or not 0 < confidence < 1:
        raise ConfigError(f"bootstrap: {resamples} resamples at {confidence}; expected at least 1, between 0 and 1.")
    if groups is None:
        sums, counts = numbers, np.ones(numbers.size)
    else:
        if len(groups) != numbers.size:
            raise ConfigError(f"bootstrap: {len(groups)} group ids for {numbers.size} values; expected one for each.")
        number_of = {name: k for k, name in enumerate(dict.fromkeys(groups))}
        of_value = np.array([number_of[name] for name in groups])
        sums, counts = np.bincount(of_value, numbers), np.bincount(of_value).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _DRAWS // len(sums))
    for start in range(0, resamples, step):
        drawn = rng.integers(len(sums), size=(min(step, resamples - start), len(sums)))
        means[start : start + step] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail))
    return float(low), float(high)


def _check_images(found_rgb: ImageU8, true_rgb: ImageU8) -> None:
    for name, image in (("found", found_rgb), ("true", true_rgb)):
        if image.dtype != np.uint8 or image.shape != true_rgb.shape or image.ndim != 3 or image.shape[2] != 3:
            raise SampleError(
                f"{name} image: expected uint8 (H, W, 3), both of one size, got {image.dtype} {image.shape} "
                f"beside {true_rgb.shape}."
            )


def _check_thresholds(thresholds: FloatArray) -> None:
    if thresholds.ndim != 1 or len(thresholds) < 2 or not (np.diff(thresholds) > 0).all():
        raise ConfigError(f"thresholds: expected at least two that rise, got {thresholds.tolist()}.")
