"""The Neural Mean ODE and its neighbours: finite nets, the limit, the lazy limit, error laws and phases.

Source: Chizat, "The Hidden Width of Deep ResNets", arXiv 2509.10167. What is derived and measured here, and how well it
holds: docs/theory/mean_ode.md.
"""

from isoscale.theory.mean_ode.error_law import ErrorLaw, Row, error_law, fit_rows, measure
from isoscale.theory.mean_ode.fits import Estimate, Fit, slopes
from isoscale.theory.mean_ode.lazy import lazy_ode
from isoscale.theory.mean_ode.limits import best_alpha, distance_to_lazy, distance_to_subcritical
from isoscale.theory.mean_ode.network import Ensemble, Net, Weights, forward, initial, train
from isoscale.theory.mean_ode.oracle import autograd_net, euler_limit
from isoscale.theory.mean_ode.phase_scan import PhasePoint, PhaseScan, phase_scan
from isoscale.theory.mean_ode.setting import BadSetting, Setting, reduced, setting_a, setting_b, setting_f
from isoscale.theory.mean_ode.solver import Trajectory, mean_ode

__all__ = [
    "BadSetting",
    "Ensemble",
    "ErrorLaw",
    "Estimate",
    "Fit",
    "Net",
    "PhasePoint",
    "PhaseScan",
    "Row",
    "Setting",
    "Trajectory",
    "Weights",
    "autograd_net",
    "best_alpha",
    "distance_to_lazy",
    "distance_to_subcritical",
    "error_law",
    "euler_limit",
    "fit_rows",
    "forward",
    "initial",
    "lazy_ode",
    "mean_ode",
    "measure",
    "phase_scan",
    "reduced",
    "setting_a",
    "setting_b",
    "setting_f",
    "slopes",
    "train",
]
