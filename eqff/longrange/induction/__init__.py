"""Induced dipoles: how polarizable atoms answer a field, each other's included."""
