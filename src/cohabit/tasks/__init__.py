"""Side programs: separate processes for work that may take long, or needs more than process 1 may import.

Process 1 starts each by its path. They import nothing of cohabit and nothing imports them: pipes are the only
connection, and each module's docstring describes its protocol. (The loader is a side program too, but it needs many
packages of cohabit; it is config/__main__.py.)
"""
