"""Inputs that can't be right, and the one message that each has to give."""
