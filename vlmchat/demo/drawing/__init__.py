"""Drawn pictures with questions and answers: what the demo model learns from and is judged by.

Pillow and the standard library only. `examples.draw` is the front door; `captions.captions` says
what a picture shows in 25 places, `judging.right` whether an answer is right.
"""
