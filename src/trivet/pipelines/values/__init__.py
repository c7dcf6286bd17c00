"""How Python values become artifacts and come back: one file per kind."""
