"""Where others come in: requests become facts for the engine, and what it knows becomes answers. Pure."""
