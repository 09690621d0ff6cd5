"""Render answers of the control socket as tables, explanations and pictures.

Pure. Only clients import it, never process 1.
"""
