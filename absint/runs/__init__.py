"""What every run needs: journal, progress, output, worker processes."""
