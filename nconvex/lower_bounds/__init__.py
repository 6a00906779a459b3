"""Lower bounds of Γ: no path between two models stays below them."""

from nconvex.lower_bounds.degenerate_path import path_through_narrower
from nconvex.lower_bounds.flood import FloodBracket, flood_bracket
from nconvex.lower_bounds.width_below import narrower_infimum
from nconvex.lower_bounds.separation import LowerBound, Separation, det_sign, lower_bound
