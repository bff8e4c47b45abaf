"""The stacks: what holds state apart from what does not."""
