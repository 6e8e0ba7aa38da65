"""How an older store becomes this version's."""
