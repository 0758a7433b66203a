"""Models compiled ahead of time for inference: one file of machine code that calculators load; see docs/export.md."""
