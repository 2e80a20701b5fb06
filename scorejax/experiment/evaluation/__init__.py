"""What a trained model is worth: `evaluate` measures all that it can do; each other file one part of that."""
