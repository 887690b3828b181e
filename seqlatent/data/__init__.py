"""Data: from tables, arrays and bundled sets to sequences and batches."""
