"""What holds for all tests."""

from hypothesis import settings

# A test says what is right, never how long it takes: machines are shared, and benchmarks measure.
settings.register_profile("trivet", deadline=None)
settings.load_profile("trivet")
