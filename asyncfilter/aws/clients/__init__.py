"""The two clients, signed HTTP and aiobotocore, behind one set of protocols."""
