"""The book: notebooks with checked parameters, executed and built."""
