"""What the services write, on its way to our standard output and error."""
