"""Data of the experiments: polynomials, and handwritten digits."""
