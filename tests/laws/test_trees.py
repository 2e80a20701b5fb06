"""Trees of two classes differ, so that no compiled program of one is taken for the other."""

import re
from dataclasses import dataclass
from pathlib import Path

import jax
import pytest

import scorejax as sj
from scorejax.guidance.operators.filters import AveragePool
from scorejax.numerics.trees import register_dataclass

PACKAGE = Path(sj.__file__).parent


@register_dataclass
@dataclass(frozen=True)
class Coarser(AveragePool):
    """An operator with the fields of another one."""


PAIRS = {
    "processes with leaves": (sj.vp(), sj.subvp()),
    "operators without": (AveragePool(2), Coarser(2)),
    "steppers": (sj.samplers.euler_maruyama(), sj.samplers.ancestral()),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_trees_of_two_classes_differ_though_their_fields_are_equal(pair):
    one, other = map(jax.tree.structure, pair)
    assert one != other and one == jax.tree.structure(pair[0])


def test_a_tree_is_what_it_was_taken_apart_from():
    sde = sj.vp(beta_max=7.0)
    leaves, structure = jax.tree.flatten(sde)
    assert jax.tree.unflatten(structure, leaves) == sde and 7.0 in leaves
    assert [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(sde)] == [".beta_min", ".beta_max"]
    assert jax.jit(lambda sde: sde)(AveragePool(2)) == AveragePool(2)


def test_no_class_of_the_package_is_registered_otherwise():
    otherwise = re.compile(r"^@.*tree_util\.register_dataclass", re.MULTILINE)
    assert not [path.name for path in PACKAGE.rglob("*.py") if otherwise.search(path.read_text())]
