"""Images outside of S3 and what leaves the program: local folders, pictures made fit to be sent, exports."""
