"""Tables, plots and HTML: what people look at. Reads the plain data of space, evaluate and search,
and imports no room that measures."""
