"""Objectives beside STvM: source-free losses of others, one file each, in the trainer of STvM.

`docs/objectives.md` says how to add one.
"""
