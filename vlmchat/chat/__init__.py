"""What a conversation is: messages and their parts, and how they are written elsewhere. Pure."""
