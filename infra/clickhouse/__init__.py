"""The ClickHouse cluster on EC2: its configuration, and the user data that brings a node up."""
