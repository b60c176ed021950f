"""The steps of ``/finetune`` on the screen: where from, data, method, run; and the list of jobs.

What they do is in `vlmchat.talk.finetuning`; here it is shown.
"""
