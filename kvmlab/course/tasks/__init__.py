"""The tasks of the course, a module for each notebook."""
