"""Leg one, access to data: definitions, point-in-time training sets, online features."""
