"""Studies of the paper as commands."""
