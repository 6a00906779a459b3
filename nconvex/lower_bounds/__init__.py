"""What no path can go below."""

from nconvex.lower_bounds.crossing import path_through_narrower
from nconvex.lower_bounds.flood import FloodBracket, flood_bracket
from nconvex.lower_bounds.narrower import narrower_infimum
from nconvex.lower_bounds.separation import LowerBound, Separation, det_sign, lower_bound
