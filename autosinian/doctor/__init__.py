"""What on this machine changes a measurement; reads only. May import engine, measure and errors."""
