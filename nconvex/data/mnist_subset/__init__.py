"""The subset of MNIST that ships with nconvex: PROVENANCE.md says what it is and whose."""
