"""Samplers: steppers, correctors and the driver `sample`."""

from scorejax.samplers.correctors import ald, annealed_langevin, langevin
from scorejax.samplers.ddim import ddim
from scorejax.samplers.dpm_solver import dpm_solver
from scorejax.samplers.dpm_solver_adaptive import dpm_solver_adaptive
from scorejax.samplers.driver import Sample, Trajectory, sample, trajectory
from scorejax.samplers.edm import euler, heun
from scorejax.samplers.ode import adaptive_probability_flow, decode, encode, interpolate
from scorejax.samplers.predictors import ancestral, euler_maruyama, probability_flow, reverse_diffusion
from scorejax.samplers.reverse_chain import ChainPart, ChainStepper, analytic, analytic_dpm, npr, reverse_chain, sn
from scorejax.samplers.stepper import Step, Stepper
from scorejax.samplers.unipc import unipc

__all__ = [
    "ChainPart",
    "ChainStepper",
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
    "ddim",
    "decode",
    "dpm_solver",
    "dpm_solver_adaptive",
    "encode",
    "euler",
    "euler_maruyama",
    "heun",
    "interpolate",
    "langevin",
    "npr",
    "probability_flow",
    "reverse_chain",
    "reverse_diffusion",
    "sample",
    "sn",
    "trajectory",
    "unipc",
]
