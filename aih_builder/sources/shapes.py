"""The pool of hand shapes."""

from collections.abc import Sequence

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_BETAS
from aih_builder.identity import SPLITS, Split
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.pools import by_split, draw_item


class ShapePool:
    """`count` shapes, betas (10,) from a standard normal distribution clipped to +-beta_limit.

    A shape depends on the seed and its own number alone, so a pool can grow without changing what it holds. Raises
    ConfigError where count is below 1, beta_limit is not a positive number, or one of the asked `splits` gets no shape.
    """

    def __init__(self, count: int, beta_limit: float, seed: int, splits: Sequence[Split] = ()) -> None:
        if count < 1:
            raise ConfigError(f"shapes: count is {count}, expected at least 1.")
        if not 0.0 < beta_limit < np.inf:
            raise ConfigError(f"shapes: beta_limit is {beta_limit}, expected a positive number.")
        self._betas: dict[str, FloatArray] = {}
        for item in range(count):
            normal = sample_rng(seed, item, 1, Purpose.POOL).normal(size=N_BETAS)
            self._betas[f"shape-{item:04d}-{seed}"] = np.clip(normal, -beta_limit, beta_limit)
        self._by_split = by_split(list(self._betas))
        for split in splits:
            if not self._by_split[split]:
                filled = ", ".join(s for s in SPLITS if self._by_split[s])
                raise ConfigError(
                    f"shapes: none of {count} falls into split '{split}' (only into {filled}). "
                    "Raise count, or set that split's sample count to 0."
                )

    @property
    def ids(self) -> list[str]:
        """All ids, in the order of their numbers."""
        return list(self._betas)

    def betas(self, shape_id: str) -> FloatArray:
        """Betas (10,) of one shape."""
        return self._betas[shape_id].copy()

    def draw(self, rng: np.random.Generator, split: Split) -> tuple[str, FloatArray]:
        """A shape of one split, uniformly: its id and betas (10,). Raises ConfigError where the split has none."""
        shape_id = draw_item(rng, self._by_split, split, "hand shapes")
        return shape_id, self.betas(shape_id)
