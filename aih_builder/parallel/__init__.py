"""The same task over many items: in local processes, or on the workers of a Dask cluster."""
