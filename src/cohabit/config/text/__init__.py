"""YAML and TOML text -> a tree of Nodes with line numbers; values -> YAML text."""
