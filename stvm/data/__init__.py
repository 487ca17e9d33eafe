"""Images: the embedded benchmark, folders of your own, and published data sets."""
