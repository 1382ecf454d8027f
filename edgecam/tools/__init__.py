"""What no run needs: convert, train, evaluate, examine, and watch a fleet."""
