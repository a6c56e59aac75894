"""The pages, the panel and the controls under `/sandbox/`."""
