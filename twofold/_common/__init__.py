"""What every package uses: checks of arguments and a cached property."""
