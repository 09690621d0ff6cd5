"""What the server says."""

GREETING = "hello"
