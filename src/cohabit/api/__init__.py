"""Where others come in: a line of words becomes facts for the engine, and what it knows becomes an answer.

Pure: who may ask, and the socket on which they do, are reactor/control.py's. The words, and what each answer
has in it, are on one page: docs/reference/control.md.
"""
