"""DFT-D3: coordination numbers, references, and what they are put together from."""
