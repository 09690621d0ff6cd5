"""The control socket: accepts clients, carries out their requests, and limits what they can cost."""
