"""Training, standard and adversarial, and the store of trained networks."""
