"""Asking services how they are, and hearing it from them."""
