"""How high γ rises on a segment, proven."""
