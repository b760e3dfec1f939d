"""The viewer's web page (extra `viewer`)."""
