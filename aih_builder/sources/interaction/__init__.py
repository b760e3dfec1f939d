"""Poses of two hands that interact: families, their predicates, and the solver that finds them."""
