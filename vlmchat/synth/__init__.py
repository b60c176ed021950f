"""Made-up data: questions and answers about pictures, by the model itself or drawn with answers.

The way follows the smol-course's unit on synthetic datasets (Hugging Face,
``6_synthetic_datasets/instruction_datasets.md``): questions are made as in Self-Instruct (Wang et
al., 2022, arXiv:2212.10560), made harder as in Evol-Instruct (Xu et al., 2023, arXiv:2304.12244;
for pictures MMEvol, Luo et al., 2024, arXiv:2409.05840), and what is not good enough is left out:
by likelihood, by self-consistency (Wang et al., 2022, arXiv:2203.11171), and by a judge that is
asked in both orders (Zheng et al., 2023, arXiv:2306.05685).

`running.run` is the front door; `drawn` makes sets whose answers are known. No PyTorch here: the
engine is met over HTTP.
"""
