"""Prints the record of a sample as a Markdown table, from its declarations; the README holds it verbatim."""

from aih_builder.sample import SPECS


def record_table() -> str:
    """One row per field: name, type, shape, meaning."""
    rows = ["| field | type | shape | meaning |", "|---|---|---|---|"]
    for name, spec in SPECS.items():
        kind = f"text, {spec.max_bytes} bytes" if spec.max_bytes else spec.dtype
        about = f"{spec.about} (optional)" if spec.optional else spec.about
        rows.append(f"| `{name}` | {kind} | {spec.dims or 'scalar'} | {about} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(record_table())
