"""Dynamical mean-field theory of residual networks: the limit of infinite width and depth, in one causal pass.

Source: Bordelon, Noci, Li, Hanin, Pehlevan, ICLR 2024 (arXiv 2309.16620). What is derived and measured here, and how
well it holds: docs/theory/dmft.md.
"""

from isoscale.theory.dmft.course import Course, at_infinite_depth, best_of, limit_course, train_course
from isoscale.theory.dmft.deep import DeepLimit, solve_deep
from isoscale.theory.dmft.distance import Distance, distance_to_limit
from isoscale.theory.dmft.fixed_point import FixedPoint, solve_fixed_point
from isoscale.theory.dmft.lazy import LazyLimit, lazy_limit
from isoscale.theory.dmft.linear import LinearLimit, solve_linear
from isoscale.theory.dmft.march import Kernels, Trajectory
from isoscale.theory.dmft.network import Weights, draw, train_networks
from isoscale.theory.dmft.oracles import autograd_networks
from isoscale.theory.dmft.predict import BestRate, as_run, best_rate
from isoscale.theory.dmft.problem import BadProblem, Problem
from isoscale.theory.dmft.riccati import solve_linear_deep
from isoscale.theory.dmft.solver import Limit, Sampling, sample_networks, solve_limit

__all__ = [
    "BadProblem",
    "BestRate",
    "Course",
    "DeepLimit",
    "Distance",
    "FixedPoint",
    "Kernels",
    "LazyLimit",
    "Limit",
    "LinearLimit",
    "Problem",
    "Sampling",
    "Trajectory",
    "Weights",
    "as_run",
    "at_infinite_depth",
    "autograd_networks",
    "best_of",
    "best_rate",
    "distance_to_limit",
    "draw",
    "lazy_limit",
    "limit_course",
    "sample_networks",
    "solve_deep",
    "solve_fixed_point",
    "solve_limit",
    "solve_linear",
    "solve_linear_deep",
    "train_course",
    "train_networks",
]
