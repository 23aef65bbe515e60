"""What the command line's words do; `backend.cli` reads the words."""
