"""What Python source says without being run: names, values, config lists."""
