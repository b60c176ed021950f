"""Markdown as rows of text that one widget draws: parsed, laid out and grown at small cost."""
