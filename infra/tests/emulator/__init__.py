"""An AWS of this machine's own: moto's server, with CloudFormation types that moto itself lacks.

Moto emulates the APIs of all these types; what is missing is only how CloudFormation calls them. It knows no IAM, no
conditions of policies, no volume sizes: what those do is asserted on the templates instead.
"""
