"""Trees of arrays: the form that parameters and states take in JAX."""

from __future__ import annotations

from typing import Any, TypeAlias

PyTree: TypeAlias = Any
"""Nested containers (dicts, tuples, dataclasses that JAX knows) with arrays, or their shapes, at the leaves.

No static type says this, so it is `Any` for a type checker; for a reader it says what is inside.
"""
