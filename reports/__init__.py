"""Tables, figures and a page from recorded trials; nothing here imports torch or ray."""
