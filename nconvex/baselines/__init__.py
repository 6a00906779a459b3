"""Baselines: other published methods that connect two models, certified in the same way."""

from nconvex.baselines.curves import align, bezier, nudged_elastic_band, polychain, straight_line
