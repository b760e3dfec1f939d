"""The order in which a run takes its items: the same for any number of processes and workers, to go on with at will."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.rng import Purpose, sample_rng

_ORDER = ("seed", "items")  # what the order hangs on
_PLACE = ("batch", "ranks", "step")  # batch * ranks * step items of it are taken


class Key(NamedTuple):
    """What a sampler asks of a dataset: an item, and under which number (the epoch) its augmentation is drawn."""

    item: int
    draw: int


class AihSampler:
    """Batches of Keys for a DataLoader's `batch_sampler`: each epoch a new order.

    There is one endless row of items, epoch after epoch, that hangs on `seed` and `items` alone. Step s of all `ranks`
    processes takes the next batch * ranks of it, `rank` its share of those: all take equally many, each item once an
    epoch, and a batch may begin in one epoch and end in the next. Begins at step `start`, ends before `stop`.
    """

    def __init__(self, items: int, batch: int, *, seed: int, start: int, stop: int, rank: int = 0, ranks: int = 1):
        """Raises ConfigError where there are no items or no batch, or rank is none of the ranks."""
        if items < 1 or batch < 1:
            raise ConfigError(f"sampler: {items} items in batches of {batch}, expected at least 1 of each.")
        if not 0 <= rank < ranks:
            raise ConfigError(
                f"sampler: rank {rank} of {ranks}, expected 0 to {ranks - 1}. Give this process's number and how many "
                "there are, as torch.distributed's get_rank and get_world_size tell them."
            )
        self.items, self.batch, self.seed = items, batch, seed
        self.start, self.stop, self.rank, self.ranks = start, stop, rank, ranks

    @classmethod
    def for_epochs(cls, epochs: int, items: int, batch: int, *, seed: int, rank: int = 0, ranks: int = 1) -> Self:
        """As many steps as show every item `epochs` times: iterate over it once, not once an epoch.

        Where batch * ranks does not divide the items of all epochs, the last step's surplus is of the epoch after them.
        """
        sampler = cls(items, batch, seed=seed, start=0, stop=0, rank=rank, ranks=ranks)
        sampler.stop = -(-epochs * items // (batch * ranks))
        return sampler

    def __len__(self) -> int:
        return max(self.stop - self.start, 0)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(self.start, self.stop):
            keys = []
            for place in range(self.batch):
                now, position = divmod((step * self.ranks + self.rank) * self.batch + place, self.items)
                if now != epoch:
                    epoch, order = now, sample_rng(self.seed, now, 1, Purpose.ORDER).permutation(self.items)
                keys.append(Key(int(order[position]), epoch))
            yield keys

    def state_dict(self, taken: int) -> dict[str, int]:
        """Where the order stands after `taken` batches from `start` on; plain numbers, the same at every rank.

        The loop that uses the batches has to count them: a DataLoader asks ahead for those that its workers prepare, so
        the sampler itself does not know how many were used. Raises ConfigError for more than there are.
        """
        if not 0 <= taken <= len(self):
            raise ConfigError(
                f"sampler: {taken} batches are said to be taken, expected 0 to {len(self)} (steps {self.start} to "
                f"{self.stop}). Count those that the loop got since it began to iterate."
            )
        return {
            "seed": self.seed, "items": self.items, "batch": self.batch, "ranks": self.ranks,
            "step": self.start + taken,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin where a state stands; the next iteration gives exactly what was left.

        Batch and ranks may be others than they were, if their product divides the items taken; `stop` stays, and
        counts steps of this sampler. Raises ConfigError where the state does not fit.
        """
        if set(state) != {*_ORDER, *_PLACE}:
            raise ConfigError(
                f"sampler: a state of {', '.join(map(str, state)) or 'nothing'}, expected "
                f"{', '.join(_ORDER + _PLACE)}. Give what AihSampler.state_dict returned."
            )
        for name in _ORDER:
            if state[name] != getattr(self, name):
                raise ConfigError(
                    f"sampler: the state's {name} is {state[name]}, expected {getattr(self, name)}: it belongs to "
                    f"another order. Go on with the dataset and seed that it was made with, or begin anew without it."
                )
        position = state["step"] * state["batch"] * state["ranks"]
        step, rest = divmod(position, self.batch * self.ranks)
        if rest:
            raise ConfigError(
                f"sampler: the state stands after {position} items, which batches of {self.batch} at {self.ranks} "
                f"ranks do not reach. Go on with batches of {state['batch']} at {state['ranks']} ranks, or with "
                f"numbers whose product divides {position}."
            )
        self.start = step
