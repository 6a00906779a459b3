"""The polynomials, and handwritten digits."""
