"""How good the demo model is: asking it, counting, and writing down what was found.

`rows`, `sheet`, `messages` and `card` are light; `answering` needs PyTorch. Nothing is imported
here.
"""
