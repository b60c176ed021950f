"""What a fine-tuning run is, without running one: examples, reports, settings, jobs, adapters.

Light: torch and transformers live in the trainer, which is a process of its own.
"""
