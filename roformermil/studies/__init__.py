"""The paper's open questions: which parts of the model matter (ablation), and what they cost (overhead); and a search for settings."""
