"""SQL that loading runs, as Jinja templates; `warehouse.templates` renders them."""
