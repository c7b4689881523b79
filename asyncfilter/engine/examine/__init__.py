"""The machine that examines images: listing, admission, paid calls."""
