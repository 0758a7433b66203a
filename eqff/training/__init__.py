"""Training: losses, optimizers, schedule and budget, callbacks, restart, fine-tuning, report."""
