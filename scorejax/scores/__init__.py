"""Scores `grad log p_t(x)`: what networks predict, laws known exactly, and products with their Jacobians."""
