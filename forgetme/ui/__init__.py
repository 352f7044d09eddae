"""The Gradio page and its routes."""

import atexit
import os
import shutil
import tempfile

# Gradio reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
if "GRADIO_TEMP_DIR" not in os.environ:  # its cache gets a folder of its own, with nothing else in
    os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="forgetme-page-")
    atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)
