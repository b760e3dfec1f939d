"""Image codecs and the one place where floats become bytes. All images are RGB; OpenCV's BGR stays in here."""

import contextlib
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from aih_builder.errors import AssetError, ShardError

ImageU8 = NDArray[np.uint8]

cv2.setNumThreads(1)  # equal results and no oversubscription: parallelism is by process

DISPLAY_GAMMA = 2.2  # linear light = (sRGB level / 255) ** DISPLAY_GAMMA, in every shader and every texture
JPEG_QUALITY = 95
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # of the user's pictures
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_PIXELS = 100_000_000
_GREY_WITHIN = 3  # levels
_MAX_GRID_PX = 8192  # side of the finer grid on which a shrinking image is sampled
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def to_u8(values: NDArray[np.floating]) -> ImageU8:
    """Round floats in [0, 255] to bytes, half up; out-of-range values are clipped."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def encode_jpeg(image_rgb: ImageU8) -> bytes:
    """JPEG, quality 95, 4:4:4."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image_rgb),
        quality=JPEG_QUALITY,
        colorspace="RGB",
        colorsubsampling="444",
    )


def through_jpeg(image_rgb: ImageU8, quality: int) -> ImageU8:
    """An image (H, W, 3) as a camera would have stored it: JPEG, 4:2:0, decoded again."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image_rgb), quality, "RGB", "420")
    return simplejpeg.decode_jpeg(data, "RGB")


def encode_png(image: ImageU8 | NDArray[np.uint16]) -> bytes:
    """PNG of RGB (H, W, 3) u8, or of one channel (H, W) u8 or u16."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    done, data = cv2.imencode(".png", np.ascontiguousarray(bgr), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ShardError(f"PNG encoder refused an array of {image.dtype} {image.shape}.")
    return data.tobytes()


def decode_image(data: bytes | memoryview) -> ImageU8:
    """RGB image (H, W, 3) from JPEG or PNG bytes. Raises ShardError where they are damaged."""
    if bytes(data[:2]) == b"\xff\xd8":
        try:
            return simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as error:
            raise ShardError(f"damaged JPEG data ({error}).") from error
    if data[:8] != _PNG:
        raise ShardError("neither JPEG nor PNG data.")  # OpenCV would try its other decoders
    bgr = decode_png(data)
    if bgr.ndim != 3 or bgr.shape[2] != 3:
        raise ShardError(f"PNG of shape {bgr.shape}, expected three channels.")
    return np.ascontiguousarray(bgr[..., ::-1])


def decode_jpeg_rgba(data: bytes | memoryview) -> ImageU8:
    """A JPEG as (H, W, 4) with alpha 255, to be filled in. Raises ShardError where it is damaged."""
    try:
        return simplejpeg.decode_jpeg(data, "RGBA")
    except ValueError as error:
        raise ShardError(f"damaged JPEG data ({error}).") from error


def decode_png(data: bytes | memoryview) -> NDArray:
    """PNG bytes as stored (channels in OpenCV's order). Raises ShardError where they are damaged."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if len(data) else None
    if array is None:
        raise ShardError("damaged PNG data.")
    return array


def read_image(path: Path) -> ImageU8:
    """RGB image (H, W, 3) from a file, as decode_photo gives it. Raises AssetError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Remove it or fix its permissions.") from error
    return decode_photo(data, path)


def jpeg_size_hw(path: Path) -> tuple[int, int]:
    """Height and width that a JPEG file states. Raises AssetError where it cannot be read."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AssetError(f"{path}: not a readable JPEG file ({error}). Fetch it again, or take it out.") from error
    return int(height), int(width)


def decode_photo(data: bytes, path: Path, reduce: int = 1) -> ImageU8:
    """RGB image (H, W, 3) of a file's bytes.

    Grey is repeated, alpha is dropped, palettes and CMYK are looked up, EXIF's orientation is applied, of 16 bits the
    upper 8 are kept. reduce is 1, 2, 4 or 8: both sides are divided by it, which is faster for JPEG. Raises AssetError.
    """
    refuse_huge(data, path)  # before the decoder takes memory for it
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[reduce]) if data else None
    except cv2.error as error:
        raise AssetError(f"{path}: cannot be decoded ({' '.join(str(error).split())}). Remove it.") from error
    if bgr is None:
        raise AssetError(f"{path}: not an image that OpenCV can decode. Remove it or convert it to PNG or JPEG.")
    _refuse_huge((bgr.shape[0], bgr.shape[1]), path)
    return np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)


def refuse_huge(data: bytes, path: Path) -> None:
    """Raise AssetError for a PNG or JPEG that states more pixels than any picture here has, before it is decoded."""
    _refuse_huge(stated_size_hw(data), path)


def stated_size_hw(data: bytes | memoryview) -> tuple[int, int]:
    """Height and width that a PNG or JPEG file states; 0 where it does not or is of another kind."""
    if data[:8] == _PNG:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if data[:2] == b"\xff\xd8":
        with contextlib.suppress(ValueError):
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            return int(height), int(width)
    return 0, 0


def _refuse_huge(size_hw: tuple[int, int], path: Path) -> None:
    if size_hw[0] * size_hw[1] > _MAX_PIXELS:
        raise AssetError(
            f"{path}: {size_hw[1]} x {size_hw[0]} pixels, expected at most {_MAX_PIXELS:,} in all. Make it smaller."
        )


def resize(image: NDArray, size_hw: tuple[int, int]) -> NDArray:
    """Area averaging when shrinking, bilinear when growing."""
    shrink = size_hw[0] * size_hw[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """A mask (H, W) and all within `pixels` of it, diagonals included."""
    return cv2.dilate(mask.view(np.uint8), _square(pixels)).view(np.bool_)


def shrunk(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """A mask (H, W) without all that lies within `pixels` of its outside; the frame's border counts as inside."""
    return cv2.erode(mask.view(np.uint8), _square(pixels)).view(np.bool_)


def feathered(alpha: ImageU8) -> ImageU8:
    """Coverage (H, W) softened by one pixel, as a lens does: a 3 x 3 binomial filter."""
    return cv2.GaussianBlur(alpha, (3, 3), 0.85).astype(np.uint8, copy=False)


def blurred(image: ImageU8, sigma_px: float) -> ImageU8:
    """An image (H, W, C) under a Gaussian filter."""
    return cv2.GaussianBlur(image, (0, 0), sigma_px).astype(np.uint8, copy=False)


def warped(
    image: ImageU8, affine_px: NDArray[np.floating], size_hw: int | tuple[int, int], *, border: str = "black"
) -> ImageU8:
    """An image (h, w, C) moved by an affine (2, 3), pixel centres at integers: (height, width, C), bilinear.

    One number as size_hw is a square's side. An image that shrinks to less than 2/3 is averaged over what a pixel
    covers; one that shrinks so much that this takes a grid of over 8192 px is first made smaller as a whole. border is
    what lies outside: "black" (0) or "reflect".
    """
    height, width = (size_hw, size_hw) if isinstance(size_hw, int) else size_hw
    zoom = float(np.sqrt(abs(affine_px[0, 0] * affine_px[1, 1] - affine_px[0, 1] * affine_px[1, 0])))
    finer = max(1, round(1 / zoom))  # samples along a pixel's side
    most = max(1, _MAX_GRID_PX // max(height, width))
    if finer > most:
        image, affine_px = _smaller(image, affine_px, -(-finer // most))
        finer = most
    grid = affine_px * finer
    grid[:, 2] += (finer - 1) / 2
    mode = cv2.BORDER_REFLECT_101 if border == "reflect" else cv2.BORDER_CONSTANT
    image = np.ascontiguousarray(image)  # OpenCV takes no views that run backwards
    moved = cv2.warpAffine(image, grid, (width * finer, height * finer), flags=cv2.INTER_LINEAR, borderMode=mode)
    if finer > 1:
        moved = cv2.resize(moved, (width, height), interpolation=cv2.INTER_AREA)
    return moved.astype(np.uint8, copy=False)


def _smaller(image: ImageU8, affine_px: NDArray[np.floating], times: int) -> tuple[ImageU8, NDArray[np.floating]]:
    """An image with sides divided, a pixel at least, and the affine that moves it as the given one moves the image."""
    height, width = image.shape[:2]
    small = resize(image, (max(1, height // times), max(1, width // times)))
    scale = np.array([width / small.shape[1], height / small.shape[0]])  # x' of the small one: (x' + 1/2) scale - 1/2
    linear = affine_px[:, :2]
    return small, np.column_stack([linear * scale, affine_px[:, 2] + linear @ ((scale - 1) / 2)])


def recoloured(image: ImageU8, table: ImageU8) -> ImageU8:
    """An image (H, W, 3) with each level replaced by that of a table (3, 256)."""
    return cv2.LUT(image, np.ascontiguousarray(table.T[None])).astype(np.uint8, copy=False)


def padded(image: ImageU8, top: int, bottom: int, left: int, right: int) -> ImageU8:
    """An image with its border pixels repeated so many times on each side."""
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def paste(patch: ImageU8, where: NDArray[np.bool_], into: ImageU8) -> None:
    """Write a patch (H, W, 3) into an image of its size, in place, where a mask (H, W) holds."""
    cv2.copyTo(patch, where.view(np.uint8), into)


def box_of(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of what is not 0 in a mask (H, W); ends are exclusive, all 0 where nothing is."""
    x, y, width, height = cv2.boundingRect(mask)
    return y, y + height, x, x + width


def channel_sums(image_rgb: ImageU8) -> tuple[int, int, int]:
    """Sums of R, of G and of B over an image (H, W, 3), exact."""
    r, g, b, _ = cv2.sumElems(image_rgb)
    return int(r), int(g), int(b)


def is_grey(image_rgb: ImageU8) -> bool:
    """Whether the three channels of an image (H, W, 3) are equal, but for what a JPEG does to them."""
    r, g, b = cv2.split(image_rgb)
    return bool(max(cv2.norm(r, g, cv2.NORM_INF), cv2.norm(g, b, cv2.NORM_INF)) <= _GREY_WITHIN)


def spread(image: ImageU8) -> float:
    """Standard deviation of an image over all pixels and channels, in levels."""
    mean = sum(cv2.sumElems(image)) / image.size
    return float(np.sqrt(max(cv2.norm(image, cv2.NORM_L2SQR) / image.size - mean * mean, 0.0)))


def _square(pixels: int) -> ImageU8:
    return np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
