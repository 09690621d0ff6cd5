"""Programs that process 1 starts beside itself, each by its path: what may take long, or needs more than it may import.

None of them imports anything of this house, and nothing imports them: pipes are all that they have in common with
process 1, and the charter of each says what goes through them. (The loader is one too, but half the house; it is
config/__main__.py.)
"""
