"""Learn how long labels take, from those that have come and those that have not."""
