"""The control protocol: requests become events for the engine, and its state becomes answers of plain values.

This package does no I/O. reactor/control/ owns the socket and decides who may connect. docs/reference/control.md
describes the commands and the fields of each answer.
"""
