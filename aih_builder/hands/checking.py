"""Looks at MANO files as a user has them: what they hold, which hands they are, and everything that is wrong."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.mano_checks import shape_directions_repeat, side_of, volume_m3
from aih_builder.hands.mano_file import FILE_NAMES, inspect_mano
from aih_builder.hands.surface import boundary_loop

FIXED, AS_PUBLISHED = "fixed", "as-published"  # a left hand's shape directions; as manifests call them


@dataclass(slots=True)
class CheckedFile:
    """One file. What could not be found out is None."""

    path: Path
    named: str | None = None  # the side that the file's name tells
    side: str | None = None  # the side that the geometry tells
    vertices: int | None = None
    faces: int | None = None
    joints: int | None = None
    betas: int | None = None
    length_m: float | None = None
    volume_ml: float | None = None
    finger_means: bool | None = None  # whether hands_mean is anything but zero
    wrong: list[str] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong


@dataclass(slots=True)
class CheckedHands:
    """One or two files, right before left."""

    files: list[CheckedFile]
    left_shapedirs: str | None  # "fixed" or "as-published"; None where that cannot be told

    @property
    def wrong(self) -> list[str]:
        """Everything that is wrong, each with its file."""
        return [f"{file.path}: {text}" for file in self.files for text in file.wrong]


def mano_files(path: Path) -> list[Path]:
    """The pickles that a path means: itself, or those of a folder, right before left.

    Raises ConfigError where there is none.
    """
    if path.is_dir():
        there = [path / name for name in FILE_NAMES.values() if (path / name).exists() or (path / name).is_symlink()]
        if not there:
            raise ConfigError(f"{path}: holds no {' and no '.join(FILE_NAMES.values())}. Name the folder of the files.")
        return there
    try:
        path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name a MANO pickle, or a folder.") from error
    return [path]


def check_hands(path: Path) -> CheckedHands:
    """Check a pickle, or both of a folder. Raises ConfigError where there is none."""
    files = [check_file(file) for file in mano_files(path)]
    pair = {file.side: file for file in files if "shapedirs" in file.arrays and file.is_sound}
    told = None
    if {"right", "left"} <= pair.keys():
        repeated = shape_directions_repeat(pair["left"].arrays["shapedirs"], pair["right"].arrays["shapedirs"])
        told = AS_PUBLISHED if repeated else FIXED
    return CheckedHands(files, told)


def check_file(path: Path) -> CheckedFile:
    """Check one pickle."""
    file = CheckedFile(path, named=_named_side(path))
    try:
        arrays, file.wrong = inspect_mano(path)
    except AssetError as error:
        file.wrong = [str(error).removeprefix(f"{path}: ").rstrip(".")]
        return file
    file.arrays = arrays
    file.vertices, file.faces = _length(arrays, "v_template", 0), _length(arrays, "f", 0)
    file.joints, file.betas = _length(arrays, "kintree_table", 1), _length(arrays, "shapedirs", 2)
    if "hands_mean" in arrays:
        file.finger_means = bool(np.any(arrays["hands_mean"]))
    if "v_template" in arrays and arrays["v_template"].size:
        file.length_m = float(np.ptp(arrays["v_template"], axis=0).max())
    if file.is_sound:
        _look(file)
    return file


def _look(file: CheckedFile) -> None:
    """The geometry of a file whose arrays are those of a hand."""
    vertices, faces = file.arrays["v_template"], file.arrays["f"]
    try:
        volume = volume_m3(vertices, faces, boundary_loop(faces))
    except AssetError as error:
        file.wrong.append(str(error).rstrip("."))
        return
    file.volume_ml = 1e6 * volume
    if volume < 0:
        file.wrong.append(
            "its faces look inward: one of its axes was mirrored, but not the order of the faces' corners. Get the "
            "file again, or swap two columns of f"
        )
    file.side = side_of(file.arrays)
    if file.side is not None and file.named is not None and file.side != file.named:
        file.wrong.append(
            f"its name says {file.named} hand, it holds a {file.side} hand (thumb side, and where fingers curl). "
            "The two files were swapped, or one was copied: get them again, or rename them"
        )


def _named_side(path: Path) -> str | None:
    """The side that a file's name tells, if it tells one."""
    name = path.stem.lower()
    told = [side for side in FILE_NAMES if side in name]
    return told[0] if len(told) == 1 else None


def _length(arrays: dict[str, FloatArray], key: str, axis: int) -> int | None:
    shape = arrays[key].shape if key in arrays else ()
    return shape[axis] if axis < len(shape) else None
