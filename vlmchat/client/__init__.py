"""The client of any OpenAI-compatible engine, and the keeper of the local one."""
