"""Arguments, printout, files and signals of the commands."""
