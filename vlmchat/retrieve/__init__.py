"""Finding pictures for a sentence, and sentences for a picture."""
