"""What is wrong with this container, or with a Dockerfile, for several services. A program of its own."""
