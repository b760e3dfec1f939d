"""All figures of a dataset, for `aih stats` and for the web page, kept in a file beside dataset.json."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aih_builder.errors import ShardError
from aih_builder.files import read_json, write_whole
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.shards.format import LISTING_FILE, STATS_FILE
from aih_builder.shards.imported import imported_listing
from aih_builder.shards.plan import load_plan
from aih_builder.shards.reader import open_dataset
from aih_builder.synth.assets import load_hands
from aih_builder.viewer.columns import open_columns
from aih_builder.viewer.histograms import dataset_histograms
from aih_builder.viewer.stats import dataset_figures

log = logging.getLogger(__name__)

Figures = dict[str, Any]

_FORMAT, _VERSION = "aih-stats", 2


def dataset_statistics(folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Figures:
    """The figures of a dataset folder, as plain JSON values: its `name`, those of dataset_figures and of
    dataset_histograms. Flagged samples are left out.

    From the file that is kept beside dataset.json; made again where that is away, damaged, or of other samples or
    flags. Where the folder takes no file, or a shard cannot be read, they are not kept. on_progress gets shards done
    and in all, of the pass over them that may be needed. Raises ConfigError and ShardError as open_dataset and
    load_plan do.
    """
    dataset = open_dataset(folder)
    state = hashlib.sha256((folder / LISTING_FILE).read_bytes() + json.dumps(dataset.left_out).encode()).hexdigest()
    path = folder / STATS_FILE
    kept = _read(path, state)
    if kept is not None:
        return kept
    if (held := imported_listing(folder)) is not None:
        name, manifest, hands = held["name"], None, hand_pair(open_hand(), "native")
    else:
        plan = load_plan(folder)
        name, manifest, hands = plan.manifest.name, plan.manifest, load_hands(plan.manifest, plan.cache)[0]
    figures: Figures = {"name": name}
    figures |= dataset_figures(dataset, manifest, hands)
    figures |= dataset_histograms(open_columns(folder, on_progress), dataset.left_out)
    if not figures["unreadable"]:
        content = {"format": _FORMAT, "version": _VERSION, "of": state, "figures": figures}
        try:
            write_whole(path, json.dumps(content).encode())
        except ShardError as error:
            log.warning("the figures are not kept: %s", error)
    return figures


def _read(path: Path, state: str) -> Figures | None:
    """What the file holds; None where it is not there, damaged, of another state or of another version."""
    if not path.is_file():
        return None
    try:
        content = read_json(path)
    except ShardError as error:
        log.warning("%s; it is made again", error)
        return None
    head = (content.get("format"), content.get("version"), content.get("of"))
    if head != (_FORMAT, _VERSION, state) or not isinstance(content.get("figures"), dict):
        log.info("%s: of another state of the dataset; it is made again", path)
        return None
    return content["figures"]
