"""From what a running cohabit tells of itself to what people look at: tables, explanations, pictures.

Pure, and never in process 1: the clients come here with the answers that they got.
"""
