"""Many structures that move at once, as engines on GPUs keep them."""
