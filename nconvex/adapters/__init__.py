"""Landscapes made from functions, and from networks of other libraries, loaded when asked for."""
