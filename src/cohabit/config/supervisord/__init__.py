"""supervisord.conf: its sections and options with supervisord's meaning, defaults, expansions and error texts."""
