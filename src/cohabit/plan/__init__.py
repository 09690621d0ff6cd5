"""The frozen nouns: what shall run, in which order, under which rules. Pure: no I/O, no clock, no Linux."""
