"""Foreign formats, a room for each."""
