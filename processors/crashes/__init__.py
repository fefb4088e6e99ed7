"""Finding the event that ends its worker's process, however often that is started again."""
