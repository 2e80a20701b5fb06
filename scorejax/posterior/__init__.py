"""Draws from posteriors `p(x | y)` whose law is corrected, and the worlds in which such a law is known exactly."""
