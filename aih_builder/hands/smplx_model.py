"""The hand model computed by smplx (extra `hands`), one sample at a time."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import N_JOINTS
from aih_builder.hands.mano_file import FILE_NAMES, write_mano
from aih_builder.hands.model import HandModel


class SmplxHandModel(HandModel):
    """smplx.MANO in float64 on the exported file of the arrays, with use_pca=False and flat_hand_mean=False.

    One sample and one thread at a time: more of either may change the last bit of the result.
    Raises ConfigError where smplx is missing.
    """

    def __init__(self, arrays: HandArrays) -> None:
        super().__init__(arrays)
        try:
            import smplx
            import torch
        except ImportError as error:
            raise ConfigError(
                f"the hand backend 'smplx' needs {error.name}. Install it with "
                "`pip install aih-builder[hands]`, or use the backend 'native'."
            ) from error
        self._torch = torch
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / FILE_NAMES[arrays.side]
            write_mano(arrays, path)
            with contextlib.redirect_stdout(io.StringIO()):  # smplx prints a remark on 10 betas
                self._layer = smplx.MANO(
                    model_path=str(path),
                    is_rhand=arrays.side == "right",
                    use_pca=False,
                    flat_hand_mean=False,
                    batch_size=1,
                    dtype=torch.float64,
                )

    def _skin(self, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        def batch(values: FloatArray) -> object:
            return self._torch.from_numpy(np.array(values)[None])

        threads = self._torch.get_num_threads()
        self._torch.set_num_threads(1)
        try:
            with self._torch.no_grad():
                out = self._layer(
                    global_orient=batch(pose_rad[:3]),
                    hand_pose=batch(pose_rad[3:]),
                    betas=batch(betas),
                    transl=batch(trans_m),
                )
        finally:
            self._torch.set_num_threads(threads)
        return out.vertices[0].numpy().copy(), out.joints[0, :N_JOINTS].numpy().copy()
