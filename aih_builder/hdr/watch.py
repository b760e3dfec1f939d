"""Watching a run: losses, rates, the share of time spent waiting for data; in log, TensorBoard and history."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter

from aih_builder.errors import TrainingError
from aih_builder.hdr.checkpoint import Checkpoint
from aih_builder.hdr.settings import Training

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_LOG_S = 10.0


class Watch:
    """What one run tells. Only the main process writes."""

    def __init__(self, out: Path, checkpoint: Checkpoint, accelerator: Accelerator) -> None:
        self.out, self.history = out, checkpoint.history
        self.step = self.kept = checkpoint.step
        self._since_step, self._since = checkpoint.step, time.perf_counter()
        self._logged = -math.inf
        self._waited_s = 0.0
        self._writer: SummaryWriter | None = None
        if accelerator.is_main_process:
            self._writer = SummaryWriter(str(out), purge_step=checkpoint.step + 1)

    def waited(self, take: Callable[[], _T]) -> _T:
        """What `take` gives; its time counts as waiting."""
        started = time.perf_counter()
        found = take()
        self._waited_s += time.perf_counter() - started
        return found

    def note(self, done: int, terms: dict[str, float], rate: float, training: Training) -> None:
        """The losses of step `done`. Raises TrainingError where one is not finite."""
        if bad := [name for name, value in terms.items() if not math.isfinite(value)]:
            raise TrainingError(
                f"{self.out}: the loss {bad[0]} is {terms[bad[0]]} at step {done}. {self.what_is_kept()} Lower "
                f"optimiser.learning_rate ({training.optimiser.learning_rate:g}), or set optimiser.clip_norm."
            )
        now = time.perf_counter()
        taken = max(now - self._since, 1e-9)
        per_second = (done - self._since_step) * training.batch / taken
        figures = terms | {"rate": rate, "samples per second": per_second, "share waiting": self._waited_s / taken}
        self.step = self._since_step = done
        self._since, self._waited_s = now, 0.0
        for name, value in {"step": done, **figures}.items():
            self.history.setdefault(name, []).append(value)
        self._scalars("train", figures, done)
        if now - self._logged > _LOG_S or done == training.steps:
            self._logged = now
            left_s = (training.steps - done) * training.batch / max(per_second, 1e-9)
            log.info(
                "step %d of %d: %s; %.1f samples/s, %.0f %% waiting, %.0f min left",
                done, training.steps, ", ".join(f"{n} {v:.4g}" for n, v in terms.items()), per_second,
                100 * figures["share waiting"], left_s / 60,
            )  # fmt: skip

    def figures(self, done: int, found: dict[str, float]) -> None:
        """Figures over the validation items."""
        for name, value in found.items():
            self.history.setdefault(f"val {name}", []).append(value)
        if found:
            self.history.setdefault("val step", []).append(done)
            log.info("step %d, validation: %s", done, ", ".join(f"{n} {v:.4g}" for n, v in found.items()))
        self._scalars("val", found, done)

    def picture(self, done: int, picture: np.ndarray) -> None:
        """A picture (H, W, 3) u8 for TensorBoard."""
        if self._writer is not None:
            self._writer.add_image("items", picture, done, dataformats="HWC")

    def what_is_kept(self) -> str:
        """A sentence on the last checkpoint."""
        return f"The checkpoint of step {self.kept} is kept." if self.kept else "There is no checkpoint yet."

    def close(self) -> None:
        """End the events file."""
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, group: str, figures: dict[str, float], done: int) -> None:
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(f"{group}/{name}", value, done)
