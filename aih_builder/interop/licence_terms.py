"""What licence ids mean, in a line, and where their text is: a dataset is bound by those of all that went into it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aih_builder.sources.licences import PUBLIC_DOMAIN, licence_ids
from aih_builder.sources.pose_imports import MANO_LICENCE

OPEN_HAND = "open"


class Terms(NamedTuple):
    """A licence, in short."""

    url: str
    about: str
    non_commercial: bool = False


_KNOWN = {
    PUBLIC_DOMAIN: Terms("https://creativecommons.org/publicdomain/zero/1.0/", "public domain: no condition"),
    "CC-BY-4.0": Terms("https://creativecommons.org/licenses/by/4.0/", "name the source"),
    "CC-BY-SA-4.0": Terms("https://creativecommons.org/licenses/by-sa/4.0/", "name the source; same licence"),
    "CC-BY-NC-4.0": Terms("https://creativecommons.org/licenses/by-nc/4.0/", "name the source; not commercially", True),
    MANO_LICENCE: Terms(
        "https://mano.is.tue.mpg.de/license.html",
        "MANO's terms: non-commercial scientific research alone; the model may not be passed on",
        True,
    ),
    "user": Terms("", "of pictures or poses that the maker of the dataset brought along: theirs to state"),
}


def terms_of(licence: str) -> Terms:
    """The terms of one licence id."""
    if licence in _KNOWN:
        return _KNOWN[licence]
    if licence.startswith("LicenseRef-"):
        return Terms("", "terms of its own: ask where the source is from")
    return Terms(f"https://spdx.org/licenses/{licence}.html", "see its text", "-NC-" in licence)


def all_licences(listed: Iterable[str], sources: Mapping[str, Any]) -> list[str]:
    """The ids that bind a dataset, sorted: those listed, those of its sources, and MANO's where its hand is not the
    open one, whatever the sources say.
    """
    found = [*listed]
    for source in sources.values():
        found += source.get("licences", []) if isinstance(source, dict) else []
    hand = sources.get("hand")
    if isinstance(hand, dict) and hand.get("model", OPEN_HAND) != OPEN_HAND:
        found.append(MANO_LICENCE)
    return licence_ids(*found)
