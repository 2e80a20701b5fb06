"""Samplers: steppers, correctors and the driver `sample`."""

from scorejax.samplers.correctors import ald, annealed_langevin, langevin
from scorejax.samplers.driver import Sample, Trajectory, sample, trajectory
from scorejax.samplers.ode import adaptive_probability_flow, decode, encode, interpolate
from scorejax.samplers.predictors import ancestral, euler_maruyama, probability_flow, reverse_diffusion
from scorejax.samplers.stepper import Step, Stepper

__all__ = [
    "Sample",
    "Step",
    "Stepper",
    "Trajectory",
    "adaptive_probability_flow",
    "ald",
    "ancestral",
    "annealed_langevin",
    "decode",
    "encode",
    "euler_maruyama",
    "interpolate",
    "langevin",
    "probability_flow",
    "reverse_diffusion",
    "sample",
    "trajectory",
]
