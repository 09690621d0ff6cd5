"""What holds for all tests: hypothesis has no deadlines here, since no test asserts how long something takes."""

from hypothesis import settings

settings.register_profile("cohabit", deadline=None)
settings.load_profile("cohabit")
