"""The readers: what people write (a Compose-style file, the command line of `run`) becomes a Draft.

Runs in a short-lived child of process 1, never inside it; the only room with third-party parsers.
"""
