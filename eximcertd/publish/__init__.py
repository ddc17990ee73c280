"""eximcertd-publish: root's part. It alone writes the macro file, and makes Exim load it."""
