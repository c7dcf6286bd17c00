from trivet.testing.online import OnlineContract


class TestMemory(OnlineContract):
    url = "memory:"
