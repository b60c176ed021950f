"""The engine: one model, served over OpenAI's chat-completions API. The room where torch lives."""
