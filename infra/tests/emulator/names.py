"""Names that the emulator and the configurations in tests agree on."""

ACCOUNT = "123456789012"
REGION = "us-east-1"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000"
IMAGE = "ami-12c6146b"
"""An image that moto knows."""
ZONE = "Z0000000000000000000"
