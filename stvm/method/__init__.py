"""The method of the paper, one file for each part of sections III-B to III-D."""
