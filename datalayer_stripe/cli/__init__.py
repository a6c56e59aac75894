"""The command line: `datalayer-stripe`."""
