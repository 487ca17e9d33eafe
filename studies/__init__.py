"""The studies of the paper, one file each, and the commands for what they record."""
