"""Images of containers: their names, their versions, and what a registry has of them."""
