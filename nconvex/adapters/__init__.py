"""Landscapes made from any function."""
