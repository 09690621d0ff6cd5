"""cohabit: several services, one container."""

__version__ = "0.1.0"
