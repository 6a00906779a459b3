"""Many pairs: settings, workers, records, statistics, and the file that keeps them."""
