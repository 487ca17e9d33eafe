"""Objectives beside STvM: source-free losses of others, one file each, in the trainer of STvM.

In these files the *start* is the network at which the student of a trial begins, and the *release*
is the code that the authors of a method published. `docs/objectives.md` says how to add one.
"""
