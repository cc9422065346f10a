"""How one asks: arguments, progress, printing."""
