#!/usr/bin/env python3
"""Look at a dataset's shards in the browser: python tools/view_shards.py DIR [--port P]. The same as `aih view DIR`."""

import sys

from aih_builder.cli.main import run

if __name__ == "__main__":
    sys.argv.insert(1, "view")
    sys.exit(run())
