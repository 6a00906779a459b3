"""Compiled functions over arrays: how they are compiled, and what they compute."""
