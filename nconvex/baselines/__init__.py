"""Other ways to connect two models, held against the same certificate."""

from nconvex.baselines.curves import align, bezier, nudged_elastic_band, polychain, straight_line
