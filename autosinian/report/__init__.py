"""Tables, plots and HTML from plain data; may import store and errors."""
