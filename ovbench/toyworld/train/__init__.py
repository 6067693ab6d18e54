"""Training of the miniature models: ``python -m ovbench.toyworld.train ROLE``.

One module per role; the shared parts are the scene bank, the training loop (which saves and
resumes), the word tokenizer and the model card.
"""
