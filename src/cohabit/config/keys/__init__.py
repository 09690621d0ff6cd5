"""The keys of the file, a family of them in each module, and the walk along their tables."""
