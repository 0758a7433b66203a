"""Many-body dispersion of coupled oscillators, range-separated and self-consistently screened (MBD@rsSCS)."""
