"""LoadGen compiled together with systems under test in C++, and detections in C++; optional. May
import errors and content only."""
