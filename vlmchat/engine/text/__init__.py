"""The text model at work: embeddings in, logits out, and a cache of what was read before."""
