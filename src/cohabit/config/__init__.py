"""The readers: a file or the command line of `run` -> Draft. The writers: Plan -> file.

Runs in the loader, a short-lived child of process 1, never in process 1 itself. The only package that imports
third-party parsers.
"""
