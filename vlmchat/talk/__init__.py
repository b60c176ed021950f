"""The chat itself, whoever shows it: the session, its turns, the commands, what is kept."""
