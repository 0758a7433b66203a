"""What a run records: its folder, metrics in plain files, W&B, figures."""
