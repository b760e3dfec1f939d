"""Builds the open hand of render_assets/open_hand from the CC0 data of MakeHuman."""
