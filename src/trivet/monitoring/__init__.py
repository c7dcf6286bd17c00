"""Leg three, deployment: drift, delayed labels, heartbeats and alarms."""
