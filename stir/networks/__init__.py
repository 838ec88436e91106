"""Networks of any width for images of any size, and any network frozen to a function of its images."""
