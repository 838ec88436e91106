"""What several test files use; a test file imports no other."""
