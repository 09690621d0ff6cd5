"""The writers: a Plan -> plain values of a file format. text/dump.py turns them into YAML."""
