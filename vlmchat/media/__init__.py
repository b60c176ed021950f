"""Pictures: probing, decoding and the tile plan. Pillow and NumPy, never torch."""
