"""Many trainings by one command: planned, started on this machine or a queue, resumed, compared."""
