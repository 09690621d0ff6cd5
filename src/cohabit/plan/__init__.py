"""The plan: frozen records of what runs, in which order and under which rules. Pure: no I/O, no clock, no Linux."""
