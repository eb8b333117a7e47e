"""SQLAlchemy tables beside the study: claims, cached accuracies, builds and measurements; may
import errors and content."""

from autosinian.store.store import Claim, Store

__all__ = ["Claim", "Store"]
