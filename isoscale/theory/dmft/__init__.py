"""Dynamical mean-field theory of residual networks: the limit of infinite width and depth, in one causal pass."""
