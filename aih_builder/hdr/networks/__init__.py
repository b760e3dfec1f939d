"""The networks. These modules load torch, so whoever needs them imports them inside a function."""
