"""What no path can go below."""
