"""Plain functions as tasks, graphs of them, and everything that is needed to run one again."""
