"""Leg three, deployment: predictions over HTTP and the record of each one."""
