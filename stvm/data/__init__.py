"""Images: the embedded benchmark and folders of your own."""
