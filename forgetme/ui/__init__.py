"""The page: Gradio around one screen of our own; its handlers submit to the worker and read."""
