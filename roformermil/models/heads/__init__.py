"""Heads: a bag's vectors -> logits. Each returns logits (B, C), attention (T, C) and instance logits (T, C) or None."""
