"""What is in a table can be named in a config: its parameters with defaults are settings of a plain type."""

import inspect
import types
import typing

import jax
import numpy as np
import pytest

import scorejax as sj
from scorejax.guidance import operators

PLAIN = (bool, int, float, str, tuple)
# what the program fills in, which is never a setting
SUPPLIED = {
    "sde": {"key"},
    "stepper": {"fitted", "data_range", "energy"},
    "corrector": set(),
    "grid": {"t_min", "fitted"},
    "degradation": {"data_range"},
    "objective": {"t", "chain", "levels", "centered", "terms", "proposal", "diffuse"},
    "operator": set(),
}
TABLES = {
    "sde": sj.sdes.SDES,
    "stepper": sj.samplers.STEPPERS,
    "corrector": sj.samplers.CORRECTORS,
    "grid": sj.samplers.GRIDS,
    "degradation": sj.degradations.DEGRADATIONS,
    "objective": sj.objectives.OBJECTIVES,
    "operator": operators.OPERATORS,
}
ENTRIES = [(kind, name) for kind, table in TABLES.items() for name in table]


def atoms(hint):
    """The types of a union, of the unions inside it, and of the words of a list of choices."""
    if typing.get_origin(hint) is typing.Literal:
        return [type(choice) for choice in typing.get_args(hint)]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [atom for part in typing.get_args(hint) for atom in atoms(part)]
    return [typing.get_origin(hint) or hint]


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_setting_has_a_default_of_its_declared_plain_type(kind, name):
    factory = TABLES[kind][name]
    hints = typing.get_type_hints(factory)
    assert (inspect.getdoc(factory) or "").partition("\n")[0].rstrip().endswith((".", ":", ";"))
    for parameter in inspect.signature(factory).parameters.values():
        required = parameter.default is parameter.empty
        if parameter.name in SUPPLIED[kind] or (required and parameter.kind is not parameter.KEYWORD_ONLY):
            continue
        if parameter.name == "shape":  # of the data, which a process of modes must be made for
            continue
        assert not required, f"{name}: {parameter.name} has no default"
        declared = atoms(hints[parameter.name])
        assert set(declared) & set(PLAIN), f"{name}: {parameter.name} cannot be written in a config"
        assert isinstance(parameter.default, (*(d for d in declared if d in PLAIN), type(None)))


@pytest.mark.slow
def test_every_entry_is_made_by_its_defaults():
    for make in sj.sdes.SDES.values():
        asked = {"shape": (2,)} if "shape" in inspect.signature(make).parameters else {}
        assert isinstance(make(**asked), sj.SDE)
    for make in sj.degradations.DEGRADATIONS.values():
        assert isinstance(make(), sj.degradations.Degradation)
    for make in (*sj.samplers.STEPPERS.values(), *sj.samplers.CORRECTORS.values()):
        assert isinstance(make(), sj.samplers.Stepper)
    sde = sj.ddpm()
    known = sj.gamma.Gamma.of(sde, sj.gamma.grid(sde), np.linspace(0.1, 0.9, 1000)[None])
    for name, make in sj.samplers.GRIDS.items():
        of = sj.degradations.blur() if name == "levels" else sde
        times = make(of, 9, **({"fitted": lambda _: known} if name == "optimal" else {}))
        assert times.shape == (10,) and np.all(np.diff(times) < 0), name
    for make in operators.OPERATORS.values():
        assert isinstance(make((4, 4, 3), jax.random.key(0)), operators.Operator)


def test_the_tables_hold_every_process_and_grid_of_the_library():
    constructors = {name for name in sj.sdes.__all__ if name.islower()}
    # `still` is of recipes that know no time, which make it themselves; `colored` is made around another process, and
    # `drifting` of functions
    aside = {"still", "colored", "check_process", "inverse_mean_log_snr", "drifting", "independent"}
    assert set(sj.sdes.SDES) == constructors - aside
    assert set(sj.times.GRIDS) | {"optimal", "levels"} == set(sj.samplers.GRIDS)
    losses = {"variance_head"}  # fits a head to a frozen network, not a score
    functions = {name for name in sj.objectives.__all__ if inspect.isfunction(getattr(sj.objectives, name))}
    scored = {
        name
        for name in functions
        if {"key", "sde", "x0"} <= set(inspect.signature(getattr(sj.objectives, name)).parameters)
    }
    assert set(sj.objectives.OBJECTIVES) == scored - losses
