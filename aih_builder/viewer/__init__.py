"""Ways to look at a dataset."""
