"""Hand models: files in, vertices and joints out."""
