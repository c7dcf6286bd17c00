"""Point-in-time engines: one file per engine, all passing ``trivet.testing.EngineContract``."""
