"""Speed and cost, a module a question: `python -m benchmarks.track --variant tiny`. `make bench` runs most of them."""
