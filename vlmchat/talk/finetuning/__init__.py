"""Fine-tuning from the chat, without a screen: what the steps of ``/finetune`` do and know.

`flow` goes from data to a job, `fields` is its settings as a form needs them, `summary` says what
was found, `watching` reads along with a job, and `following` stays with the jobs that run.
"""
