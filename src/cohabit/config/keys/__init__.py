"""The keys of the file: the tables of keys, the conversion along them, and one module for each group of keys."""
