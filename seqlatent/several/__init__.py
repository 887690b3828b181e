"""Several models of the same data: a race that one of them wins, and mixtures of them all.

auto.py        the race, by held-out likelihood
combining.py   mixtures of fitted models
"""
