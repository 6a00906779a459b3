"""The draft's two experiments, as landscapes: data, network, loss and settings."""
