"""Samplers: steppers, correctors and the driver `sample`."""

from scorejax.samplers.analytic import ChainStepper, analytic, reverse_chain
from scorejax.samplers.correctors import ald, langevin
from scorejax.samplers.driver import Sample, Trajectory, sample, trajectory
from scorejax.samplers.ode import adaptive_probability_flow, decode, encode, interpolate
from scorejax.samplers.predictors import ancestral, euler_maruyama, probability_flow, reverse_diffusion
from scorejax.samplers.stepper import Step, Stepper

__all__ = [
    "ChainStepper",
    "Sample",
    "Step",
    "Stepper",
    "Trajectory",
    "adaptive_probability_flow",
    "ald",
    "analytic",
    "ancestral",
    "decode",
    "encode",
    "euler_maruyama",
    "interpolate",
    "langevin",
    "probability_flow",
    "reverse_chain",
    "reverse_diffusion",
    "sample",
    "trajectory",
]
