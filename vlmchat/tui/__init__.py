"""The chat screen (Textual). Nothing here imports torch, and nothing heavy before first paint."""
