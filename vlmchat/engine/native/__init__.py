"""The decode step in C++, for a processor where a compiler is at hand."""
