"""The two clients, signed HTTP and aioboto3, behind one set of protocols."""
