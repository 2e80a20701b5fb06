"""Samplers: steppers, correctors, time grids and the driver `sample`."""

from collections.abc import Callable

from scorejax.samplers.chains import langevin_step, mala, ula
from scorejax.samplers.cold import cold
from scorejax.samplers.correctors import ald, annealed_langevin, langevin
from scorejax.samplers.ddim import ddim
from scorejax.samplers.diagnostics import effective_sample_size, potential_scale
from scorejax.samplers.dpm_solver import dpm_solver
from scorejax.samplers.dpm_solver_adaptive import dpm_solver_adaptive
from scorejax.samplers.driver import Sample, Trajectory, sample, trajectory
from scorejax.samplers.edm import euler, heun
from scorejax.samplers.grids import GRIDS
from scorejax.samplers.ode import adaptive_probability_flow, decode, encode, interpolate
from scorejax.samplers.predictors import ancestral, euler_maruyama, probability_flow, reverse_diffusion
from scorejax.samplers.renoise import renoise
from scorejax.samplers.reverse_chain import ChainPart, ChainStepper, analytic, analytic_dpm, npr, reverse_chain, sn
from scorejax.samplers.sde_dpm_solver import sde_dpm_solver
from scorejax.samplers.stepper import Kernel, Step, Stepper
from scorejax.samplers.unipc import unipc
from scorejax.scores.clipping import dynamic_threshold

__all__ = [
    "CORRECTORS",
    "GRIDS",
    "STEPPERS",
    "ChainPart",
    "ChainStepper",
    "Kernel",
    "Sample",
    "Step",
    "Stepper",
    "Trajectory",
    "adaptive_probability_flow",
    "ald",
    "analytic",
    "analytic_dpm",
    "ancestral",
    "annealed_langevin",
    "cold",
    "ddim",
    "decode",
    "dpm_solver",
    "dpm_solver_adaptive",
    "dynamic_threshold",
    "effective_sample_size",
    "encode",
    "euler",
    "euler_maruyama",
    "heun",
    "interpolate",
    "langevin",
    "langevin_step",
    "mala",
    "npr",
    "potential_scale",
    "probability_flow",
    "renoise",
    "reverse_chain",
    "reverse_diffusion",
    "sample",
    "sde_dpm_solver",
    "sn",
    "trajectory",
    "ula",
    "unipc",
]

STEPPERS: dict[str, Callable[..., Stepper]] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
    "probability_flow": probability_flow,
    "adaptive_probability_flow": adaptive_probability_flow,
    "ddim": ddim,
    "dpm_solver": dpm_solver,
    "dpm_solver_adaptive": dpm_solver_adaptive,
    "sde_dpm_solver": sde_dpm_solver,
    "unipc": unipc,
    "euler": euler,
    "heun": heun,
    "cold": cold,
    "annealed_langevin": annealed_langevin,
    "ula": ula,
    "mala": mala,
    "renoise": renoise,
    "reverse_chain": reverse_chain,
    "analytic": analytic_dpm,  # `analytic` itself takes its grid and its statistic at once
    "npr": npr,
    "sn": sn,
}
"""The steppers by name; the parameters of each with their defaults are its settings, but for `fitted`, `data_range`
and `energy`, which the program supplies."""

CORRECTORS: dict[str, Callable[..., Stepper]] = {"langevin": langevin, "ald": ald}
"""The steppers that stay at one noise level, by name."""
