"""The deployment on AWS: one CDK app, its settings and its stacks."""
