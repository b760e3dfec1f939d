"""Building a bank of photographs in processes: what comes of each photograph, and what to do about it."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from aih_builder.errors import AssetError
from aih_builder.parallel.ordered import run_in_order
from aih_builder.sources.bank import BankEntry

log = logging.getLogger(__name__)

_CHUNK = 16  # photographs of a task: some 10 MB of results
_SHOWN = 20  # bad files named in the log

_Candidate = TypeVar("_Candidate")


class BadFile(NamedTuple):
    """A file that is missing or cannot be decoded, as its error says it."""

    message: str


Outcome = BankEntry | str | BadFile  # str: why a photograph cannot serve


@dataclass(slots=True)
class LeftOut:
    """What a build did not take."""

    reasons: Counter[str] = field(default_factory=Counter)
    bad_files: list[str] = field(default_factory=list)  # what their errors say

    def total(self) -> int:
        """All that was left out."""
        return sum(self.reasons.values())

    def told(self, entries: Iterator[BankEntry], where: Path) -> Iterator[BankEntry]:
        """The entries. Raises AssetError where there is none, saying why."""
        made = 0
        for entry in entries:
            made += 1
            yield entry
        if not made:
            why = ", ".join(f"{reason} ({n})" for reason, n in self.reasons.most_common()) or "there is no image"
            raise AssetError(f"{where}: no picture is left for a bank. Left out: {why}.")


def entries_of(
    work: Callable[[Sequence[_Candidate]], list[Outcome]],
    candidates: Sequence[_Candidate],
    left_out: LeftOut,
    *,
    skip_bad: bool,
    jobs: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[BankEntry]:
    """Entries in the order of their candidates; what cannot serve is counted.

    work is called with some candidates in a row, in other processes where jobs is above 1. Raises AssetError for the
    first bad file, unless these are to be skipped: then they are counted and listed.
    """
    chunks = [candidates[first : first + _CHUNK] for first in range(0, len(candidates), _CHUNK)]
    done = 0
    for outcomes in run_in_order(work, chunks, jobs):
        for outcome in outcomes:
            if isinstance(outcome, BankEntry):
                yield outcome
            elif isinstance(outcome, str):
                left_out.reasons[outcome] += 1
            elif skip_bad:
                left_out.reasons["a file that is missing or damaged"] += 1
                left_out.bad_files.append(outcome.message)
                if len(left_out.bad_files) <= _SHOWN:
                    log.warning("skipped: %s", outcome.message)
            else:
                raise AssetError(f"{outcome.message} Or leave such files out, counted, with --skip-bad.")
        done += len(outcomes)
        if on_progress is not None:
            on_progress(done, len(candidates))
