"""SQLAlchemy tables beside the study: claims, cached accuracies, builds and measurements."""
