"""What is kept: records with checksums, every path under `results/`, statistics, what is best, the table."""
