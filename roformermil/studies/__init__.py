"""The paper's open questions: what of the model matters (ablation), and what it costs (overhead)."""
