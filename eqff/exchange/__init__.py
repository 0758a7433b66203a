"""Exchanges: what happens to the features of a whole structure between two passes of a backbone."""
