"""Train a supernet by the sandwich rule with in-place distillation (BigNAS, Yu et al. 2020)."""
