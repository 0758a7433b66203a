"""Backbones: from the graph of atoms to features of each atom; one file for each architecture."""
