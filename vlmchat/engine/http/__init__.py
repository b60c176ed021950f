"""The HTTP face of the engine: OpenAI chat completions, models, health, adapters."""
