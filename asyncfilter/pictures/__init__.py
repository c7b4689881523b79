"""Images: the check before a paid call, and the conversion to what the service accepts."""
