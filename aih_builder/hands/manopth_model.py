"""The hand model computed by manopth (GPL-3, not on PyPI), one sample at a time."""

import contextlib
import importlib
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import KEYPOINTS, N_JOINTS
from aih_builder.hands.mano_file import FILE_NAMES, write_mano
from aih_builder.hands.model import HandModel

_MM_PER_M = 1000.0
_SOURCE = "git+https://github.com/hassony2/manopth"
_OF_MANO_JOINT = np.argsort(KEYPOINTS)[:N_JOINTS]  # where among 21 keypoints each of MANO's 16 joints is


class ManopthHandModel(HandModel):
    """manopth.manolayer.ManoLayer on the exported file of the arrays: use_pca and flat_hand_mean False, no centring.

    Its buffers are float32, the computation is float64. One sample and one thread at a time. Fingertips are this
    package's vertices: manopth takes another one on the left middle finger. Raises ConfigError where it is missing.
    """

    def __init__(self, arrays: HandArrays) -> None:
        super().__init__(arrays)
        with _chumpy():
            try:
                import torch

                layer = importlib.import_module("manopth.manolayer").ManoLayer
            except ImportError as error:
                raise ConfigError(
                    f"the hand backend 'manopth' needs {error.name}. Install torch with `pip install "
                    f"aih-builder[hands]` and manopth with `pip install {_SOURCE}`, or use the backend 'native'."
                ) from error
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file to the garbage collector
                write_mano(arrays, Path(folder) / FILE_NAMES[arrays.side])
                self._layer = layer(
                    mano_root=folder, side=arrays.side, use_pca=False, flat_hand_mean=False, center_idx=None
                ).double()
        self._torch = torch

    def _skin(self, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        threads = self._torch.get_num_threads()
        self._torch.set_num_threads(1)
        try:
            with self._torch.no_grad():
                batch = (self._torch.from_numpy(np.array(values)[None]) for values in (pose_rad, betas, trans_m))
                vertices_mm, keypoints_mm = self._layer(*batch)
        finally:
            self._torch.set_num_threads(threads)
        return vertices_mm[0].numpy() / _MM_PER_M, keypoints_mm[0].numpy()[_OF_MANO_JOINT] / _MM_PER_M


@contextlib.contextmanager
def _chumpy() -> Iterator[None]:
    """Let manopth import chumpy, which current Python and numpy do not run: where it cannot be had, numpy serves.

    manopth asks it for arrays that know themselves as `.r`, stacked and multiplied once, at loading. The stand-in is
    gone afterwards.
    """
    try:
        importlib.import_module("chumpy")
    except (ImportError, AttributeError):  # missing, or too old for this Python
        before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "chumpy"}
        for name in before:
            del sys.modules[name]
        sys.modules |= _stand_in()
        try:
            yield
        finally:
            for name in ("chumpy", "chumpy.ch"):
                del sys.modules[name]
    else:
        yield


class _Array(np.ndarray):
    """What manopth takes for an object of chumpy."""

    dterms = ()

    @property
    def r(self) -> np.ndarray:
        return np.asarray(self)


def _array(values: Any) -> _Array:
    return np.asarray(values).view(_Array)


def _stand_in() -> dict[str, types.ModuleType]:
    package, inner = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    for module in (package, inner):
        for name, value in (("Ch", _Array), ("array", _array), ("vstack", np.vstack)):
            setattr(module, name, value)
    inner.MatVecMult = lambda matrix, vector: matrix @ np.asarray(vector)  # pyright: ignore[reportAttributeAccessIssue]
    package.ch = inner  # pyright: ignore[reportAttributeAccessIssue]
    return {"chumpy": package, "chumpy.ch": inner}
