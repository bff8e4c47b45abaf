"""Numbered SQL files that make and change the warehouse's tables; `warehouse.migrate` applies them."""
