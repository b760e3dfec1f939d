"""What all engines share: attempts, the count of refused draws, and time by stage."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from aih_builder.errors import GenerationError, Rejected
from aih_builder.identity import EngineName
from aih_builder.imaging import ImageU8
from aih_builder.invariants import require
from aih_builder.sample import Mask, Sample

MAX_ATTEMPTS = 10_000


@dataclass(slots=True)
class Tally:
    """What a run of samples cost: refused draws by reason, and seconds by stage."""

    rejections: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


class Attempt(NamedTuple):
    """One draw, and what is known of it that its record need not hold: see invariants.violations."""

    sample: Sample
    background_rgb: ImageU8 | None  # (H, W, 3)
    arms: Mask | None = None  # (2, H, W)


class Engine(ABC):
    """Makes samples. A sample depends on the manifest and its index alone."""

    name: ClassVar[EngineName]

    def make(self, index: int, tally: Tally, *, first_attempt: int = 1, max_attempts: int = MAX_ATTEMPTS) -> Sample:
        """The sample of an index: the first draw that is accepted, checked against every invariant.

        Raises GenerationError where max_attempts draws in a row are refused, SampleError where an invariant breaks.
        """
        refused: Counter[str] = Counter()
        for attempt in range(first_attempt, first_attempt + max_attempts):
            try:
                sample, background_rgb, arms = self._attempt(index, attempt, tally)
            except Rejected as refusal:
                tally.rejections[refusal.reason] += 1
                refused[refusal.reason] += 1
                continue
            with tally.stage("check"):
                require(sample, background_rgb=background_rgb, arms=arms)
            return sample
        counts = ", ".join(f"{reason} {n}" for reason, n in refused.most_common())
        raise GenerationError(
            f"sample {index}: none of {max_attempts} draws was accepted ({counts}). "
            f"Widen what streams.{self.name} asks for, or the ranges that it draws from."
        )

    @abstractmethod
    def asked(self, index: int) -> str:
        """What kind of sample an index shall be, in words: kinds differ in how often a draw is accepted."""

    def draw_again(self, index: int, attempt: int) -> Sample:
        """One draw, unchecked. Raises Rejected where it is refused, ConfigError where there is no such attempt."""
        return self._attempt(index, attempt, Tally()).sample

    @abstractmethod
    def _attempt(self, index: int, attempt: int, tally: Tally) -> Attempt:
        """One draw. Raises Rejected where it is refused."""
