"""The examination of images: listing, admission, paid calls."""
