"""Heads: from features to properties of atoms and structures, with their constraints; one file for each idea."""
