"""The demo model: an example that answers without the Hub, and the pictures to try it on.

The text model is SmolLM2-135M-Instruct from the package registry; the vision tower and connector
in ``weights/`` were trained here on drawn pictures. It is no SmolVLM, and says so wherever its
name shows.
"""
