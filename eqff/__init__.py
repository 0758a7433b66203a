"""eqff."""
