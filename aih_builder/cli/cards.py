"""The card that commands leave beside a dataset.json that they wrote."""

import logging
from pathlib import Path

from aih_builder.errors import AihError
from aih_builder.interop.card import write_card_if_whole

log = logging.getLogger(__name__)


def leave_card(folder: Path) -> None:
    """Write the card of a folder that holds a finished dataset. Where that fails, the dataset is good all the same: it
    is told, and the command goes on.
    """
    try:
        write_card_if_whole(folder)
    except AihError as error:
        log.warning("The dataset is whole, but not its card: %s `aih export card DIR` writes it.", error)
