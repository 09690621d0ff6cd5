"""The control socket: who comes, what is asked of the reactor for them, and that nobody of them can hurt."""
