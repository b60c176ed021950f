"""How the demo model's vision tower is trained: from drawings, through a frozen text model.

`vlmchat.demo.train` is the command. Needs PyTorch, but nothing of the engine.
"""
