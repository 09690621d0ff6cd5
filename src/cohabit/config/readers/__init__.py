"""The readers: one module for each format of the input, and the registry that chooses one."""
