"""Measurements: how long things take against naive versions of them, in one run on one machine."""
