"""What commands print: text, tables, JSON, CSV and progress."""
