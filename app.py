"""Deepfake Lens, the page: `python app.py` is `deepfake-lens serve`, and what a Hugging Face Space
starts.
"""

import sys

from explain.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
