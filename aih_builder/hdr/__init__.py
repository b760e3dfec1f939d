"""HDR: amodal masks, de-occlusion and removal, and pose of single hands, with what measures them."""
