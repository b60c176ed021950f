"""The demo model: its parts, how they are put together, and the pictures it knows.

`pictures` and `fetch` are light; `build` needs PyTorch and runs as a process of its own. Nothing
is imported here.
"""
