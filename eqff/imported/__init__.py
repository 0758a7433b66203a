"""Published models in eqff's own parts, their weights read from the packages that carry them (docs/other_models.md)."""
