"""Trivet: MLOps on three legs, access to data, keeping track, deployment. This file is the public API."""

__version__ = "0.1.0"
