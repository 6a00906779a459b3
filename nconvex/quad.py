"""placeholder"""
from nconvex.problem import Problem
