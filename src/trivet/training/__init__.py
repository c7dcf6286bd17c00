"""The standard tasks of training: fit, evaluate, gates."""
