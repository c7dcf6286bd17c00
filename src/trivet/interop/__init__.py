"""Bridges to other tools: what comes from them and what goes to them. Nothing of Trivet imports this."""
