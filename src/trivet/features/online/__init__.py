"""Online stores: one file per engine, all passing ``trivet.testing.OnlineContract``."""
