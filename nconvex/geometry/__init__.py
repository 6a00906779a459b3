"""The surface around models: planes through weight space, and its curvature."""
