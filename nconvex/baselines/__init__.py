"""Other ways to connect two models, held against the same certificate."""
