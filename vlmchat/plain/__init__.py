"""The chat in plain lines: for screen readers, simple terminals and pipes.

No Textual, no cursor movement, no colours. The conversation, the commands and the settings are
those of the screen.
"""
