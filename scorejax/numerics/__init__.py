"""What JAX needs of us: keys that follow examples, host arrays, functions of a whole batch."""
