"""Training that begins with the weights of a trained model."""
