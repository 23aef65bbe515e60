"""Between the outside world (files, Label Studio) and the structures: pure functions of numpy data."""
