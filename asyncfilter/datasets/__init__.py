"""What leaves the program: exports of stored images, and of groups of equal ones."""
