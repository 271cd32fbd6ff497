"""The Neural Mean ODE and its neighbours: finite nets, the limit, the lazy limit, error laws and phases."""
