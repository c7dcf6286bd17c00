"""Whether what was served is what training would have seen: served vectors computed again, and the differences explained.

``audit`` records an audit and gathers what it takes, ``finding`` is the pure function that is recorded, ``offline``
computes again, ``causes`` explains, ``compare`` says what is the same, ``report`` what was found.
"""
