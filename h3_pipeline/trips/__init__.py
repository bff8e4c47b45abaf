"""What a trip is: its columns, the rules a row must pass, and the SELECT that applies them."""
