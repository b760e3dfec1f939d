"""HDR's three modules: amodal segmentation (HASM), de-occlusion and removal (HDRM), single-hand pose (SHPE)."""
