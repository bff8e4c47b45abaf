"""How a run becomes a process, where it is not a task on ECS."""
