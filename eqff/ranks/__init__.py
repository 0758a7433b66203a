"""Training by several processes ("ranks"): who they are, how they are started, and what they agree on."""
