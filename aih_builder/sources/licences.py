"""Licence ids (SPDX) of what a sample is made of."""

PUBLIC_DOMAIN = "CC0-1.0"
MAX_BYTES = 32  # of one id, so that the strictest of a set of skin and a background fits the record
_AND = " AND "


def strictest(*licences: str) -> str:
    """The licence of what is made of all these: CC0 binds nobody, several others bind together (SPDX `A AND B`)."""
    return _AND.join(part for part in licence_ids(*licences) if part != PUBLIC_DOMAIN) or PUBLIC_DOMAIN


def licence_ids(*licences: str) -> list[str]:
    """The ids that stand in these, sorted, each once."""
    return sorted({part for licence in licences for part in licence.split(_AND)})
