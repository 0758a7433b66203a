"""Moments of whole structures, and how these answer displacements and external fields."""
