"""Runs the authors' own reader, unmodified, over a tree, in a process of its own.

`python official_dump.py CHECKOUT TREE PHASE COLOUR OUT.npz`; COLOUR is "as-is", or "off": its augmentation is then the
identity.
"""

import sys
from pathlib import Path

import numpy as np


def main(checkout: str, tree: str, phase: str, colour: str, out: str) -> None:
    """All items of a phase, stacked: seven arrays (N, C, 256, 256) and what a mask is made of."""
    sys.path.insert(0, checkout)
    import explore_AIH  # pyright: ignore[reportMissingImports]

    root = Path(tree)
    config = {
        "syn_segdata_root": str(root / "AIH_syn"),
        "syn_cfg_root": str(root / "AIH_syn" / "syn_cfgs"),
        "syn_indexs_root": str(root / "AIH_syn" / "filtered_list"),
        "render_data_root": str(root / "AIH_render"),
        "final_aug": "less",
        "data_mean": [0.485, 0.456, 0.406],
        "data_std": [0.229, 0.224, 0.225],
    }
    data = explore_AIH.PartialCompContentDataset(config, phase=phase)
    if colour == "off":
        data.final_aug_transform = lambda **arrays: arrays
        data.synthesize_setter.get_color_scale = lambda: np.ones(3)
    items = [data[i] for i in range(len(data))]
    parts = {f"part{k}": np.stack([np.asarray(item[k]) for item in items]) for k in range(8)}
    np.savez(out, allow_pickle=False, **parts)


if __name__ == "__main__":
    main(*sys.argv[1:])
