"""What is expected of data, and what becomes of data that is otherwise: reported, set aside or stopped, never silently lost.

``expectations`` are what people declare, ``judging`` asks a frame, ``report`` says what was found, ``refusing`` parts
rows from the others, ``learning`` proposes, ``periods`` describes data over time, and ``checks`` is what a project does
with all of them.
"""
