"""A dataset's card for people: questions of "Datasheets for Datasets" (Gebru et al.), as far as files answer them."""

from typing import Any

from aih_builder.identity import SPLITS
from aih_builder.interop.facts import CITATION, LIMITS, Facts
from aih_builder.interop.licence_terms import terms_of
from aih_builder.sample import SPECS

_PRIVATE = ("path",)  # of a source: where it lay on the machine that made the dataset


def datasheet(facts: Facts) -> str:
    """Markdown."""
    sections = [
        f"# {facts.name}",
        facts.summary,
        _section("What it is for", [
            "Training and testing what takes two tangled hands apart: amodal segmentation, de-occlusion, removal of "
            "the other hand, pose of one and of two hands. It follows AIH, the dataset of the paper below; it is not "
            "that dataset, whose pictures are of other hands.",
        ]),
        _section("What is in it", [_counts(facts), _amount(facts), _fields(facts)]),
        _section("How it was made", [f"{facts.making} {facts.command}", _table(_provenance(facts))]),
        _section("What it was made from, and on what terms", [_sources(facts), _terms(facts)]),
        _section("Known limits", ["\n".join(f"* {limit}" for limit in LIMITS), f"People: {facts.people}"]),
        _section("Splits", [
            "An item of a pool (hand shape, skin, background, pose cluster, photograph, subject) belongs to one split, "
            "so that train, val and test share none. Published splits of a source are kept.",
        ]),
        _section("Upkeep", [
            "`aih validate DIR` reads every checksum and checks every sample against every invariant; `aih repair DIR` "
            "makes again what is damaged. flags.json, where there is one, names samples that somebody marked bad: "
            "readers leave them out. Counts may grow; no index moves.",
            f"Cite: `{CITATION}`",
        ]),
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n"


def _section(title: str, parts: list[str]) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _counts(facts: Facts) -> str:
    rows = ["| samples | " + " | ".join(SPLITS) + " |", "|---" * (len(SPLITS) + 1) + "|"]
    for engine in facts.engines:
        counts = " | ".join(f"{facts.held(engine, split):,}" for split in SPLITS)
        rows.append(f"| {engine} | {counts} |")
    return "\n".join(rows)


def _amount(facts: Facts) -> str:
    size = facts.listed["bytes"]
    pictures = "PNG, lossless" if facts.listed.get("lossless") else "JPEG, quality 95, 4:4:4"
    return (
        f"{facts.samples:,} samples in {len(facts.listed['shards'])} shards (HDF5), {size / 2**20:.1f} MiB, "
        f"{size / 1024 / max(facts.samples, 1):.1f} KiB each; pictures are {pictures}. The sha256 of each shard is in "
        "croissant.json and in dataset.json."
    )


def _fields(facts: Facts) -> str:
    rows = [
        "Hand axis: 0 right, 1 left. Camera axes: x right, y down, z forward. What is undefined is 0 and flagged.",
        "",
        "| field | type | shape | meaning |",
        "|---|---|---|---|",
    ]
    for name in facts.fields:
        spec = SPECS[name]
        kind = f"text, {spec.max_bytes} bytes" if spec.max_bytes else spec.dtype
        rows.append(f"| `{name}` | {kind} | {spec.dims or 'scalar'} | {spec.about} |")
    return "\n".join(rows)


def _provenance(facts: Facts) -> dict[str, Any]:
    listed = facts.listed
    refused = ", ".join(f"{reason}: {count:,}" for reason, count in listed.get("rejections", {}).items())
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    several = len(listed.get("versions") or [])
    return {
        "manifest": "manifest.yaml, every key resolved",
        "plan hash": f"`{listed.get('plan_hash', 'unknown')}`",
        "samples drawn anew after flags": len(listed.get("overrides", {})),
        "seed": listed.get("seed", "unknown"),
        "renderer": listed.get("renderer") or "none",
        "draws refused": refused or "none",
        "versions": versions + (f" (and {several - 1} other installations: dataset.json)" if several > 1 else ""),
    }


def _sources(facts: Facts) -> str:
    rows = ["| source | what | licences |", "|---|---|---|"]
    for name, source in facts.sources.items():
        what = ", ".join(
            f"{key.replace('_', ' ')} {_short(value)}"
            for key, value in source.items()
            if key not in ("licences", *_PRIVATE) and value
        )
        rows.append(f"| {name} | {what} | {', '.join(source.get('licences', []))} |")
    return "\n".join(rows) if facts.sources else "Its dataset.json names no sources."


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_short, value))
    if isinstance(value, dict):
        return " ".join(f"{key} {_short(inner)}" for key, inner in value.items() if key not in _PRIVATE)
    text = str(value)
    return f"`{text[:12]}`" if len(text) == 64 else text


def _terms(facts: Facts) -> str:
    lines = []
    for licence in facts.licences:
        terms = terms_of(licence)
        lines.append(f"* **{licence}**: {terms.about}." + (f" <{terms.url}>" if terms.url else ""))
    strict = [licence for licence in facts.licences if terms_of(licence).non_commercial]
    if strict:
        names = ", ".join(strict)
        lines += ["", f"**Non-commercial use alone** ({names}); each sample's `licence` says what binds it."]
    return "\n".join(["All of these bind the dataset as a whole:", "", *lines])
