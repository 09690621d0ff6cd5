"""Event listeners: supervisord's events, made from those of cohabit, and the protocol of listeners."""
