"""A network, its data, and what computes its losses: landscapes for `train` and `connect`."""
