"""Machine code made for one polynomial: C++ without loops over couplings, written from a tape of operations."""
