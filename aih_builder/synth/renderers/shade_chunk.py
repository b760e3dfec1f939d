"""How samples are kept while they are shaded: CHUNK at a time, so that loops over them become vector instructions.

A chunk lies in one flat buffer b of float64, quantity by quantity: b[ROUGHNESS + i] belongs to sample i. What the loops
over it need so that the compiler vectorises them:
* Literal starts of rows, so that it sees that rows do not overlap.
* Unsigned indices, so that it need not ask about indices that count from the end.
* No branches: np.divide instead of `/`, which asks each time whether it divides by zero; max and min.
* One length, CHUNK. An incomplete chunk ends in whatever was left there; nobody reads what becomes of it.
"""

import numpy as np

CHUNK = np.uintp(128)  # a chunk then fits the first-level cache

# The filtered texel: linear albedo, the normal map's x and y, roughness, crease; all but the albedo 0 to 255.
RED, GREEN, BLUE, MAP_X, MAP_Y, ROUGHNESS, CREASE = (CHUNK * np.uintp(row) for row in range(7))
# Interpolated over the triangle, of any length; after `bend` the normal is the one to shade with.
NORMAL_X, NORMAL_Y, NORMAL_Z, TANGENT_X, TANGENT_Y, TANGENT_Z = (CHUNK * np.uintp(row) for row in range(7, 13))
HANDEDNESS, U, V = (CHUNK * np.uintp(row) for row in range(13, 16))
# Where the ray from the camera meets the plane at depth 1; after `bend` the unit direction to the camera. And n.v.
VIEW_X, VIEW_Y, VIEW_Z, FACING = (CHUNK * np.uintp(row) for row in range(16, 20))
# How deep folds are, and how open the point lies: to the surroundings and to the key, alone and beside the other hand.
GAIN, OPEN, LIT, OPEN_BESIDE, LIT_BESIDE = (CHUNK * np.uintp(row) for row in range(20, 25))
# For one lookup in a texture: the weights of four texels, the first one's number, and the steps to those beside it and
# below it.
WEIGHT_0, WEIGHT_1, WEIGHT_2, WEIGHT_3, TEXEL, ASIDE, BELOW = (CHUNK * np.uintp(row) for row in range(25, 32))
# What light makes of it, once all textures are looked up: linear colour, alone and beside the other hand.
OUT_RED, OUT_GREEN, OUT_BLUE, BESIDE_RED, BESIDE_GREEN, BESIDE_BLUE = (CHUNK * np.uintp(row) for row in range(25, 31))
ROWS = 32
