"""Teaching models and the built-in examples. Knows nothing of Gradio."""
