"""Speed and cost, one file a question: `python -m benchmarks.track --variant tiny`, or `make bench` for all of them."""
