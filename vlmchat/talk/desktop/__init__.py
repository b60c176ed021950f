"""What lies around the chat on this machine: clipboard, editor, viewer, folders, dropped files."""
