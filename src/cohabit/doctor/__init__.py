"""`cohabit doctor`: checks of a Dockerfile or the current container. It runs as a separate program."""
