"""What is executed in sandboxes, by whichever Python is there."""
