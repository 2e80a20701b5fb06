"""The parts of an evaluation; `scorejax.evaluate` tells the story."""
