"""Reference cases made by other programs, run through eqff's layers.

A topic is one file in `eqff.testing.reference.topics`; see `eqff.testing.reference.case.Quantity` for what it gives.
"""
