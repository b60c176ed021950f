"""The process that carries out a fine-tuning run with TRL and PEFT: ``python -m vlmchat.trainer``.

It meets everybody else in the job folder (`vlmchat.finetune.job`).
"""
