"""From bytes to a tree with line numbers, whatever the format."""
