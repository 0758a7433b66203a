"""Energy terms, one file each; a model's energy is the sum of those that its config names."""
