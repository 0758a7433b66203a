"""The training step compiled as a whole, both derivatives included, and held against the plain one before use."""
