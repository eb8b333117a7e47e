"""Search spaces and candidates as plain data; may import errors, content and the supernet room's
gene names."""
