"""The edge: HTTP, Label Studio, the command line."""
