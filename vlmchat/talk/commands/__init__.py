"""What a person can tell the chat to do: one class a command.

Slash commands, the palette, key bindings, the footer and the help are all made from these.
"""
