"""One file per published figure: prints a table, saves a figure, ends with one line of JSON."""
