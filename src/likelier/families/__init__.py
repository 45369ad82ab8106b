"""One file, one model: the file's name is its name on the command line."""
