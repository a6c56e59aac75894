"""The published documents, for messages that refer to them."""

DOCUMENTS = "https://github.com/datalayer/datalayer-stripe/blob/main/docs"
"""The URL of the folder with the documents: an installed package does not contain them."""
