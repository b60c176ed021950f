"""How good a model's answers are: metrics, sets of questions, running, comparing, reporting.

Light: the engine is met over HTTP only, whoever asks it.
"""
