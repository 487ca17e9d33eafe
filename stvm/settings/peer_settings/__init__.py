"""Groups of settings of the objectives beside STvM, one file for each objective.

Every setting has the name of its objective in front. `stvm.settings.peers` lists the objectives.
"""
