"""A page on one string: what was asked and found, and sliders over the search and the path."""
