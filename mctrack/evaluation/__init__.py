"""Scoring: CLEAR, ID and HOTA as the official kits define them, across cameras, and the benchmarks' layouts."""
