"""--hand: the hand model that fits belong to."""

from pathlib import Path

from aih_builder.errors import ConfigError
from aih_builder.hands.arrays import HandArrays, load_hand_arrays, open_hand

OPEN = "open"


def chosen_hand(named: str) -> HandArrays:
    """The right hand of the open model, or of a file. Raises ConfigError where there is none."""
    if named == OPEN:
        return open_hand()
    if not Path(named).is_file():
        raise ConfigError(
            f"--hand {named}: is not a file. Expected MANO in the layout of render_assets/open_hand/hand.npz, or "
            "`open` where the fits are the open hand's."
        )
    return load_hand_arrays(Path(named))
